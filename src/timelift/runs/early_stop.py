"""Rounds of early stop: read off finished runs, decided by whichever worker comes first."""

from collections.abc import Sequence

from timelift.comparison.early_stop import EarlyStop, judge_round
from timelift.comparison.gates import Gate, gates, lift_gates, move_gate, set_gates, stop_at_gate
from timelift.comparison.store import Cell, Store
from timelift.comparison.study import Study
from timelift.records import UsageError
from timelift.records.run import read_run
from timelift.runs.data import PreparedData
from timelift.runs.train_one import VALIDATION


def check_early_stop(study: Study, data: PreparedData) -> None:
    """Refuse early stop where there is nothing to judge by.

    Raises:
        UsageError: if there are no validation videos.
    """
    if study.early_stop is not None and not any(video.split == "val" for video in data.manifest.videos):
        raise UsageError(
            "early_stop: there are no validation videos to judge by, and test videos never stop a variant; "
            "give validation videos, or leave early_stop out"
        )


def open_rounds(study: Study, store: Store) -> int:
    """Put the gates of the study's rule; without one take them away: so many stopped cells are then new."""
    if study.early_stop is None:
        return lift_gates(store)
    others = [variant for variant in study.variants if variant != study.baseline]
    for condition in study.conditions:
        set_gates(store, str(condition), others, study.early_stop.every)
    return 0


def close_rounds(study: Study, store: Store) -> None:
    """Decide every round whose runs have ended. What is decided depends on those runs alone."""
    if study.early_stop is None:
        return
    cells = [cell for cell in store.status() if not cell.choice]
    for gate in gates(store):
        if gate.stopped:  # cells may have been added since
            stop_at_gate(store, gate, gate.why)
        else:
            _close(study, study.early_stop, store, gate, cells)


def _close(study: Study, rule: EarlyStop, store: Store, gate: Gate, cells: Sequence[Cell]) -> None:
    """Rounds of one gate, one after the other, as far as the runs go."""
    assert study.baseline is not None
    pair = [
        [c for c in cells if (c.condition, c.variant) == (gate.condition, name)]
        for name in (study.baseline, gate.variant)
    ]
    while gate.seeds < study.seeds and all(_ended(of, gate.seeds) for of in pair):
        found = judge_round(rule, gate.seeds, *(_accuracies(store, of, gate.seeds) for of in pair))
        if found.stops:
            stop_at_gate(store, gate, str(found))
            return
        move_gate(store, gate, gate.seeds + rule.every, str(found))
        gate = Gate(gate.condition, gate.variant, gate.seeds + rule.every, False, str(found))


def _ended(cells: Sequence[Cell], seeds: int) -> bool:
    return all(cell.state in ("done", "failed") for cell in cells if cell.seed < seeds)


def _accuracies(store: Store, cells: Sequence[Cell], seeds: int) -> dict[int, float]:
    """Seed -> validation accuracy of the chosen weights, of the finished runs."""
    done = [cell for cell in cells if cell.state == "done" and cell.seed < seeds]
    return {cell.seed: read_run(store.run_folder(cell)).metrics[VALIDATION] for cell in done}
