"""What a page shows beside the table, counted from runs, predictions and the manifest."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.comparison.continuing import flat
from timelift.comparison.table import Row, StudyTable
from timelift.records import Manifest, Predictions, Run, Video
from timelift.records.recipe import recipe_to_dict

Key = tuple[str, int]  # (variant, seed)
ORDERS = ("ordered", "shuffled", "reversed", "frozen")


@dataclass(frozen=True)
class TimeRow:
    """Accuracy of one variant on four orders of the frames; mean over runs, and what each disorder costs."""

    variant: str
    runs: int
    accuracy: tuple[float, ...]  # in the order of ORDERS
    loss: tuple[float, ...]  # ordered minus the other three
    loss_error: tuple[float, ...]  # standard error over runs, paired; nan with one run


@dataclass(frozen=True)
class ClassRow:
    """One class of the data: videos and groups in each split."""

    name: str
    videos: tuple[int, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Data:
    """The videos by class and split, and those that are not as they should be."""

    splits: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    total: ClassRow
    bad: tuple[Video, ...]


@dataclass(frozen=True)
class Setting:
    """One line of the recipe; several values where runs differ (as pixel statistics of two networks)."""

    name: str
    values: tuple[str, ...]


def best_variant(table: StudyTable) -> Row | None:
    """The variant with the highest mean that is neither the baseline nor the probe."""
    rows = [row for row in table.rows if row.runs and not row.is_baseline and not row.is_probe]
    return max(rows, key=lambda row: row.mean, default=None)


def class_accuracy(table: StudyTable, predictions: Mapping[Key, Predictions]) -> dict[str, np.ndarray]:
    """Variant -> (classes,) accuracy, mean over runs; nan for a class without a test video."""
    found = {}
    for row in table.rows:
        own = _of(row, predictions)
        if own:
            found[row.variant] = np.mean([_by_class(p) for p in own], axis=0)
    return found


def confusions(row: Row, predictions: Mapping[Key, Predictions]) -> np.ndarray:
    """(classes, classes): share of the row's class that is answered with the column's, over all runs."""
    total = np.sum([_confusion(p) for p in _of(row, predictions)], axis=0)
    videos = total.sum(axis=1, keepdims=True)
    return np.divide(total, videos, out=np.zeros(total.shape), where=videos > 0)


def often_confused(shares: np.ndarray, most: int = 8) -> list[tuple[int, int, float]]:
    """(class, answered as, share) of the most frequent wrong answers."""
    wrong = shares * (1 - np.eye(len(shares)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(shares)) for place in order]
    return [(row, column, float(wrong[row, column])) for row, column in pairs if wrong[row, column] > 0]


def time_rows(table: StudyTable, runs: Sequence[Run]) -> list[TimeRow]:
    """A row for every variant whose runs were also judged on disturbed clips."""
    rows = []
    for row in table.rows:
        own = [run for run in runs if run.variant == row.variant and f"time/{ORDERS[0]}" in run.metrics]
        if own:
            rows.append(_time_row(row.variant, own))
    return rows


def _time_row(variant: str, runs: Sequence[Run]) -> TimeRow:
    values = np.array([[run.metrics[f"time/{order}"] for order in ORDERS] for run in runs])  # (runs, 4)
    losses = values[:, :1] - values[:, 1:]
    error = losses.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.full(3, np.nan)
    return TimeRow(
        variant=variant,
        runs=len(runs),
        accuracy=tuple(values.mean(axis=0).tolist()),
        loss=tuple(losses.mean(axis=0).tolist()),
        loss_error=tuple(error.tolist()),
    )


def data_facts(manifest: Manifest) -> Data:
    """Videos and groups by class and split; the splits in the order train, val, test, then whatever else."""
    known = ("train", "val", "test")
    there = {video.split for video in manifest.videos}
    splits = tuple(split for split in known if split in there) + tuple(sorted(there - set(known)))
    by_class: dict[str, list[Video]] = {name: [] for name in manifest.classes}
    for video in manifest.videos:
        by_class[video.label].append(video)
    return Data(
        splits=splits,
        classes=tuple(_class_row(name, videos, splits) for name, videos in by_class.items()),
        total=_class_row("all", manifest.videos, splits),
        bad=tuple(video for video in manifest.videos if video.status not in ("ok", "unscanned")),
    )


def settings(runs: Sequence[Run]) -> list[Setting]:
    """The recipe as the runs resolved it, one line a field."""
    recipes = [flat(recipe_to_dict(run.recipe)) for run in runs]
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    return [
        Setting(name, tuple(dict.fromkeys(_plain(recipe.get(name)) for recipe in recipes))) for name in names
    ]


def seconds(runs: Sequence[Run]) -> dict[str, float]:
    """What all runs took together, by kind of work."""
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.seconds)
    return dict(total)


def selections(runs: Sequence[Run]) -> list[str]:
    """How epochs were chosen, each way once: "best validation epoch 2 to 9 of 100"."""
    found: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        parts = re.fullmatch(r"(best validation epoch) (\d+) (of \d+)", run.selection)
        key = (parts[1], parts[3]) if parts else (run.selection, "")
        found.setdefault(key, []).extend([int(parts[2])] if parts else [])
    return [f"{way} {_span(epochs)} {of}" if epochs else way for (way, of), epochs in found.items()]


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def relative(path: Path, start: Path) -> str:
    """The path as a link from a page in `start`, with forward slashes."""
    return Path(os.path.relpath(path, start)).as_posix()


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _class_row(name: str, videos: Sequence[Video], splits: tuple[str, ...]) -> ClassRow:
    parts = [[video for video in videos if video.split == split] for split in splits]
    return ClassRow(
        name=name,
        videos=tuple(map(len, parts)),
        groups=tuple(len({video.group or video.name for video in part}) for part in parts),
    )


def _of(row: Row, predictions: Mapping[Key, Predictions]) -> list[Predictions]:
    return [predictions[row.variant, seed] for seed in row.seeds if (row.variant, seed) in predictions]


def _by_class(predictions: Predictions) -> np.ndarray:
    right, labels = predictions.correct(), predictions.labels
    counts = np.bincount(labels, minlength=len(predictions.classes)).astype(float)
    sums = np.bincount(labels, weights=right, minlength=len(predictions.classes))
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def _confusion(predictions: Predictions) -> np.ndarray:
    counts = np.zeros((len(predictions.classes),) * 2)
    np.add.at(counts, (predictions.labels, predictions.scores().argmax(axis=1)), 1)
    return counts
