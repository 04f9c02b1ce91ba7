"""What `timelift compare` shows while a study's runs are made: a bar, or lines where there is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from timelift.cli.common import console, say

if TYPE_CHECKING:
    from timelift.comparison.store import Cell, Store
    from timelift.comparison.study import Study


def described(study: "Study") -> str:
    """What there is to run: "4 rows x 30 seeds x 5 conditions, after 90 selection runs"."""
    tried = sum(
        len(choices) * study.grid.runs
        for condition in study.conditions
        for variant in study.variants
        if len(choices := study.grid.choices(variant, condition)) > 1
    )
    conditions = f" x {len(study.conditions)} conditions" if len(study.conditions) > 1 else ""
    after = f", after {tried} selection runs," if tried else ""
    return f"{len(study.cells)} rows x {study.seeds} seeds{conditions}{after}"


@contextmanager
def watching(study: "Study") -> Iterator[Callable[["Store"], None]]:
    """A bar over all runs; those that train now count by their epochs, where epochs are the budget.

    In a log file, a line now and then.
    """
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    training = study.recipe.training
    epochs = training.epochs if study.seconds is None and not training.steps else None
    with Progress(*columns, console=console) as shown:
        task = shown.add_task("training", total=None, words="nothing left to run")
        note = NowAndThen()

        def watch(store: "Store") -> None:
            cells = store.status()
            ended = sum(cell.state not in ("new", "running") for cell in cells)
            failed = sum(cell.state == "failed" for cell in cells)
            begun = sum(_share(store, cell, epochs) for cell in cells if cell.state == "running" and epochs)
            words = f"{ended} of {len(cells)} runs" + (f", {failed} failed" if failed else "")
            shown.update(task, completed=ended + begun, total=len(cells), words=words)
            if not console.is_terminal:
                left = next(one for one in shown.tasks if one.id == task).time_remaining
                note(words + (f", about {timedelta(seconds=round(left))} left" if left else ""))

        yield watch


def _share(store: "Store", cell: "Cell", epochs: int) -> float:
    """How much of a run's training is behind it: the lines of its log, its heading apart."""
    try:
        lines = len((store.run_folder(cell) / "log.csv").read_bytes().splitlines())
    except OSError:
        return 0.0
    return min(1.0, max(0, lines - 1) / epochs)


class NowAndThen:
    """Lines for a log file: the first at once, then at most one every `seconds`, none twice."""

    def __init__(self, seconds: float = 120.0, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._said, self._at = "", -float("inf")

    def __call__(self, line: str) -> None:
        """Say it if it is new and time."""
        now = self._clock()
        if line != self._said and now - self._at >= self._seconds:
            say(line)
            self._said, self._at = line, now
