"""What a run tells while it trains: log.csv, and progress for whoever watches."""

import csv
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from timelift.records.whole import saying_no_room, whole
from timelift.training.standing import EpochRow

COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRow))


@dataclass(frozen=True)
class ProgressEvent:
    """After an optimiser step; after an epoch's validation once more, with its accuracy."""

    epoch: int  # from 1
    epochs: int
    step: int  # of this epoch, from 1
    steps: int  # optimiser steps an epoch
    loss: float  # mean over this epoch's clips so far
    accuracy: float  # of this epoch's clips so far, as they were seen
    learning_rate: float  # before the groups' factors
    validation_accuracy: float | None = None  # of the last validated epoch
    best_epoch: int = 0  # 0: none yet


def write_log(path: Path, rows: Iterable[EpochRow]) -> None:
    """Write log.csv anew, whole or not at all: what lies past the checkpoint is cut."""
    with whole(path) as partial:
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)
        for row in rows:
            append_log(partial, row)


def append_log(path: Path, row: EpochRow) -> None:
    """Add one epoch to log.csv."""
    with saying_no_room(path), path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(dataclasses.astuple(row))


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[ProgressEvent], None]]:
    """A bar over all epochs on the terminal, with the time left; gives what `train` takes as `progress`."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(title, total=None, words="starting")

        def show(event: ProgressEvent) -> None:
            done = (event.epoch - 1) * event.steps + event.step
            bar.update(task, total=event.epochs * event.steps, completed=done, words=in_words(event))

        yield show


def in_words(event: ProgressEvent) -> str:
    """One short line: epoch 3/20 · loss 1.234 · training 56.1 % · validation 48.0 % (best: epoch 2)."""
    words = [
        f"epoch {event.epoch}/{event.epochs}",
        f"loss {event.loss:.3f}",
        f"training {event.accuracy:.1%}",
    ]
    if event.validation_accuracy is not None:
        words.append(f"validation {event.validation_accuracy:.1%} (best: epoch {event.best_epoch})")
    return " · ".join(words)
