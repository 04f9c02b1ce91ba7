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
        UsageError: if all selection runs of the variant failed.
    """
    choices = {text_of(choice): choice for choice in study.grid.choices(variant, condition)}
    if len(choices) == 1:
        return next(iter(choices.values())), ()
    means = _means(store, condition, variant, choices)
    if not means:
        raise UsageError(f"{variant}: all of its selection runs failed, so there is nothing to judge")
    best = max(means, key=lambda text: means[text])  # the first of equals
    tried = f"{len(means)} choices x {study.grid.runs} run(s)"
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
    found: dict[str, list[float]] = {}
    for cell in store.status():
        if (cell.condition, cell.variant, cell.state) == (str(condition), variant, "done") and cell.choice:
            run = read_run(Path(store.run_folder(cell)))
            found.setdefault(cell.choice, []).append(run.metrics[VALIDATION])
    return {text: float(np.mean(found[text])) for text in choices if text in found}
