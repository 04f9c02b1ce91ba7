"""Runs of a study in several processes of one thread, against one such process, and one with all threads."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count

import torch

from timelift.bench.lenets import Laid, laid_study
from timelift.comparison.store import Cell, Store
from timelift.records import TimeliftError
from timelift.runs.devices import cores, default_workers
from timelift.runs.workers import run_workers
from timelift.timing import Outcome, Timed

TURNS = 5
RUNS_A_WORKER = 3  # in every turn, of the largest crew


@dataclass(frozen=True)
class Crew:
    """So many worker processes, each of so many threads."""

    workers: int
    threads: int

    def __str__(self) -> str:
        return f"{self.workers} worker(s) of {self.threads} thread(s)"


def timed(turns: int, device: torch.device) -> Iterator[Outcome]:
    """Seconds a run, by the clock on the wall, for the runs of one LeNet in every crew, turn by turn."""
    many = max(2, default_workers(device))
    crews = dict.fromkeys([Crew(1, 1), Crew(many, 1), Crew(1, max(2, cores()))])
    with laid_study() as laid:
        variant, runs = laid.study.variants[0], RUNS_A_WORKER * many
        seconds: dict[Crew, list[float]] = {crew: [] for crew in crews}
        number = count()
        for _ in range(turns):
            for crew in crews:
                cells = run_all(laid, variant, runs, crew, device, next(number))
                seconds[crew].append(seconds_a_run(cells))
    first = tuple(seconds[Crew(1, 1)])
    ways = tuple(Timed(str(crew), tuple(own), first) for crew, own in seconds.items())
    yield Outcome(f"a run of {variant}", ways)


def run_all(
    laid: Laid, variant: str, runs: int, crew: Crew, device: torch.device, number: int
) -> tuple[Cell, ...]:
    """So many runs of the variant by a crew, in a study folder of their own: its cells, with their times.

    Raises:
        TimeliftError: if one failed.
    """
    folder = laid.folder.with_name(f"study-{number}")
    folder.mkdir()
    for name in ("study.toml", "data.csv"):
        shutil.copy(laid.folder / name, folder / name)
    store = Store(folder)
    store.add_cells([variant], range(runs))
    run_workers(folder, crew.workers, device, lambda store: None, threads=crew.threads)
    cells = store.status()
    shutil.rmtree(folder)
    for cell in cells:
        if cell.state != "done":
            raise TimeliftError(f"a run of the bench is {cell.state}: {cell.error or 'no word'}")
    return cells


def seconds_a_run(cells: tuple[Cell, ...]) -> float:
    """From the first start to the last end, over the number of runs: without what workers need to begin."""
    starts, ends = (
        [datetime.fromisoformat(text) for text in texts]
        for texts in ((cell.started for cell in cells), (cell.finished for cell in cells))
    )
    return (max(ends) - min(starts)).total_seconds() / len(cells)
