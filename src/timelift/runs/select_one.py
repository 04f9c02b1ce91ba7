"""Selection runs: what is tried for a variant, judged on validation videos, and what was chosen by them.

The test videos are never opened here. A choice that was made stays, whatever is tried later.
"""

from pathlib import Path

import numpy as np

from timelift.comparison.axes import Condition, Point, text_of
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.records import UsageError
from timelift.records.run import read_run
from timelift.runs.train_one import VALIDATION

FIRST_SEED = 1_000_000  # of selection runs: other subsets and starts than those that are judged


def add_selection_runs(study: Study, store: Store) -> None:
    """The cells that choices need; where there is one choice, none."""
    for condition in study.conditions:
        for variant in study.variants:
            choices = study.grid.choices(variant, condition)
            for choice in choices if len(choices) > 1 else ():
                seeds = range(FIRST_SEED, FIRST_SEED + study.grid.runs)
                store.add_cells([variant], seeds, str(condition), text_of(choice))


def chosen(study: Study, store: Store, condition: Condition, variant: str) -> tuple[Point, tuple[str, ...]]:
    """The choice by which a variant is judged at a condition, and what a reader must know about it.

    Raises:
        UsageError: if no choice is left.
    """
    choices = {text_of(choice): choice for choice in study.grid.choices(variant, condition)}
    if len(choices) == 1:
        return next(iter(choices.values())), ()
    means = _means(store, condition, variant, choices)
    if not means:
        raise UsageError(
            f"{variant}: each of its choices has a run that failed, so there is nothing to judge"
        )
    best = max(means, key=lambda text: means[text])  # the first of equals
    failed = f", {len(choices) - len(means)} of which failed" if len(means) < len(choices) else ""
    tried = f"{len(choices)} choices x {study.grid.runs} run(s){failed}"
    why = f"{100 * means[best]:.1f} % on validation, the best of {tried}"
    taken = store.choose(str(condition), variant, best, why)
    note = f"chosen on validation videos: {taken} ({why})"
    if taken != best:
        note = (
            f"chosen on validation videos: {taken}; later selection runs prefer {best}, which changes nothing"
        )
    if taken not in choices:
        raise UsageError(
            f"{taken!r} was chosen by earlier selection runs and is not in the grid any more; there are "
            f"{', '.join(choices)}: put it back, or give another --output"
        )
    return choices[taken], (note,)


def _means(store: Store, condition: Condition, variant: str, choices: dict[str, Point]) -> dict[str, float]:
    """Mean validation accuracy of every choice whose runs all ended well: one that may fail is no choice."""
    found: dict[str, list[float]] = {}
    for cell in store.status():
        if (cell.condition, cell.variant) == (str(condition), variant) and cell.choice:
            ended = cell.state == "done"
            accuracy = read_run(Path(store.run_folder(cell))).metrics[VALIDATION] if ended else float("nan")
            found.setdefault(cell.choice, []).append(accuracy)
    means = {text: float(np.mean(found[text])) for text in choices if text in found}
    return {text: mean for text, mean in means.items() if np.isfinite(mean)}
