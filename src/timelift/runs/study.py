"""A whole study: prepared, run by workers, read back for tables and pages."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from timelift.comparison.axes import Condition, filled, placeholders
from timelift.comparison.continuing import continue_study
from timelift.comparison.gates import gates
from timelift.comparison.store import Cell as Place
from timelift.comparison.store import Store, slug
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study, write_study
from timelift.records import DataError, Predictions, Run
from timelift.records.predictions import PREDICTIONS, read_predictions
from timelift.records.run import read_run
from timelift.runs.budgets import state_budgets, without_budget
from timelift.runs.data import scanned
from timelift.runs.early_stop import check_early_stop, open_rounds
from timelift.runs.fused_rows import check_fused_rows, fused_seeds
from timelift.runs.one_cell import SCANNED, study_data, study_frames
from timelift.runs.probe_one import probed_network
from timelift.runs.select_one import add_selection_runs
from timelift.runs.timed import time_all
from timelift.runs.workers import WorkerDied, run_workers
from timelift.variants import Variant, parse_variant

Bar = Callable[..., None]
Watch = Callable[[Store], None]


@dataclass(frozen=True, eq=False)
class Finished:
    """What a study holds by now at one condition: finished runs with their files, and failed cells.

    Fused rows are among the runs; their folders are names, and hold nothing.
    """

    condition: Condition
    study: Study  # at this condition
    store: Store
    runs: tuple[Run, ...]
    folders: tuple[Path, ...]
    predictions: tuple[Predictions, ...]
    failed: tuple[Place, ...]
    open: int  # cells new or running
    stopped: dict[str, str]  # variant -> why early stop has stopped it

    @property
    def timed(self) -> tuple[tuple[Run, ...], tuple[Path, ...]]:
        """The runs, with their folders, whose times are judged: trained, and of variants not stopped."""
        left_out = {*self.stopped, *(row.name for row in self.study.fused)}
        kept = [
            (run, folder)
            for run, folder in zip(self.runs, self.folders, strict=True)
            if run.variant not in left_out
        ]
        return tuple(run for run, _ in kept), tuple(folder for _, folder in kept)


def resolved(study: Study) -> Study:
    """The study with variants in canonical words, and without a probe where there is nothing to probe.

    Raises:
        UsageError: for a variant that is not understood, or weights that cannot be had.
    """
    names = {text: _canonical(study, text) for text in study.variants}
    variants = tuple(dict.fromkeys(names.values()))
    probe = study.linear_probe and probed_network(study.texts) is not None
    baseline = names.get(study.baseline or "", variants[0])
    grid = dataclasses.replace(
        study.grid, of=tuple((names[name], where, axes) for name, where, axes in study.grid.of)
    )
    published = study.published and study.published.renamed(names)
    fused = tuple(row.renamed(names) for row in study.fused)
    return dataclasses.replace(
        study,
        variants=variants,
        baseline=baseline,
        linear_probe=probe,
        grid=grid,
        fused=fused,
        published=published,
    )


def _canonical(study: Study, variant: str) -> str:
    """The variant in canonical words; a name, and one with choices of its own, as typed.

    Whatever will be built is read, every choice of it.
    """
    text, named = study.text_of(variant), variant in dict(study.names)
    if not placeholders(text):
        canonical = str(_checked(text))
        return variant if named else canonical
    for condition in study.conditions:
        for choice in study.grid.choices(variant, condition):
            _checked(filled(text, choice))
    return variant if named else " ".join(variant.split())


def _checked(text: str) -> Variant:
    """The variant, if a file of the user's that it names is there."""
    variant = parse_variant(text)
    file, _, _ = variant.network.rpartition(":")
    if file.endswith(".py") and not Path(file).is_file():
        raise DataError(f"{text!r}: there is no file {file} (paths are relative to where you are)")
    return variant


def open_study(study: Study, folder: Path) -> Study:
    """Begin the study in its folder, or go on with the one there; further variants and seeds are added.

    Raises:
        UsageError: if another study is there, naming the difference.
    """
    study = resolved(study)
    if (folder / "study.toml").is_file():
        study = continue_study(parse_study(folder / "study.toml"), study)
    folder.mkdir(parents=True, exist_ok=True)
    write_study(study, folder)
    return study


def prepare_study(
    study: Study,
    folder: Path,
    say: Callable[[str], None],
    scanning: Bar | None = None,
    decoding: Bar | None = None,
) -> None:
    """Scan, judge, split and cache the videos, once; every worker reads the result."""
    scanned(
        Path(study.data),
        folder / SCANNED,
        official_list=study.official_list or 1,
        progress=scanning,
        say=say,
    )
    data = study_data(study, folder)
    check_early_stop(study, data)
    check_fused_rows(study, data)
    for note in data.notes:
        say(note)
    _, why = study_frames(study, data, progress=decoding)
    say(why)


def time_budgets(
    study: Study, folder: Path, workers: int, device: torch.device, say: Callable[[str], None]
) -> None:
    """Where runs get `seconds`: say how many steps that is, by steps timed in as many processes as will work.

    folder: of a prepared study.
    """
    if new := without_budget(study, folder):
        say(f"timing the steps of {len(new)} kind(s) of runs: each gets {study.seconds:g} s of training")
        timed = time_all(folder, workers, device)
        state_budgets(study, folder, {kind: timed[kind].step for kind in new})


def run_study(study: Study, folder: Path, workers: int, device: torch.device, watch: Watch) -> None:
    """Run every cell that is not done in local processes."""
    complete_study(study, folder, lambda watch: run_workers(folder, workers, device, watch), watch)


def complete_study(study: Study, folder: Path, run_new: Callable[[Watch], None], watch: Watch) -> None:
    """Run every cell that is not done; cells of processes that died are taken up again.

    run_new: runs the new cells of the study in the folder, wherever, and calls what it is given meanwhile.
    """
    store = Store(folder)
    store.state_seeds(study.seeds, study.max_seeds or study.seeds)
    add_selection_runs(study, store)
    for condition in study.conditions:
        store.add_cells(study.cells, range(study.seeds), str(condition))
    open_rounds(study, store)
    while True:
        store.reclaim_dead()
        states = [cell.state for cell in store.status()]
        if "new" in states:
            before = _ended(store)
            try:
                run_new(watch)
            except WorkerDied:
                if _ended(store) == before:  # else the study gets on, and what the worker left is run anew
                    raise
        elif "running" in states:  # in another process of this study: its cells are waited for
            watch(store)
            time.sleep(0.5)
        else:
            return


def _ended(store: Store) -> int:
    return sum(cell.state not in ("new", "running") for cell in store.status())


def finished(folder: Path) -> tuple[Finished, ...]:
    """Read a study back: what it holds at each condition that has a finished run.

    Raises:
        DataError: if the folder holds none, or no run of it is finished.
    """
    if not (folder / "study.toml").is_file():
        raise DataError(f"{folder} holds no study (study.toml): give the --output of a `timelift compare`")
    study, store = parse_study(folder / "study.toml"), Store(folder)
    cells = [cell for cell in store.status() if cell.variant in study.cells and not cell.choice]
    if not any(cell.state == "done" for cell in cells):
        raise DataError(f"{folder}: none of its {len(cells)} runs is finished{_why(store.status())}")
    found = (_finished_at(condition, study, store, cells) for condition in study.conditions)
    return tuple(one for one in found if one.runs)


def _finished_at(condition: Condition, study: Study, store: Store, cells: Sequence[Place]) -> Finished:
    own = [cell for cell in cells if cell.condition == str(condition)]
    folders = [store.run_folder(cell) for cell in own if cell.state == "done"]
    runs = [(read_run(path), read_predictions(path / PREDICTIONS)) for path in folders]
    for row in study.fused:
        made = fused_seeds(row, runs, folders)
        runs += made
        folders += [store.folder / "fused" / slug(f"{condition} {row.name}") / f"{r.seed}" for r, _ in made]
    stopped = {g.variant: g.why for g in gates(store) if g.stopped and g.condition == str(condition)}
    stopped |= {
        row.name: f"as {one}: {stopped[one]}" for row in study.fused for one in row.of if one in stopped
    }
    return Finished(
        condition=condition,
        study=study.at(condition),
        store=store,
        runs=tuple(run for run, _ in runs),
        folders=tuple(folders),
        predictions=tuple(answers for _, answers in runs),
        failed=tuple(cell for cell in own if cell.state == "failed"),
        open=sum(cell.state in ("new", "running") for cell in own),
        stopped=stopped,
    )


def _why(cells: Sequence[Place]) -> str:
    errors = [
        cell.error.strip().splitlines()[-1] for cell in cells if cell.state == "failed" and cell.error.strip()
    ]
    return f"; the first failed with {errors[0]}" if errors else ""
