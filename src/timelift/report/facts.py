"""What a page shows beside the table, counted from runs, predictions and the manifest."""

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from timelift.comparison.study import LINEAR_PROBE, flat
from timelift.comparison.summary import STAR, AtCondition, rows_by_variant
from timelift.comparison.table import Row, StudyTable
from timelift.records import DataError, Manifest, Predictions, Run, Video
from timelift.records.recipe import recipe_to_dict

Key = tuple[str, int]  # (variant, seed)
ORDERS = ("ordered", "shuffled", "reversed", "frozen")


@dataclass(frozen=True)
class Curve:
    """One run's log.csv: a number an epoch; validation is empty where the run had none."""

    seed: int
    epochs: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    validation: tuple[tuple[float, float], ...]  # (epoch, accuracy)


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


@dataclass(frozen=True)
class Line:
    """One variant's accuracy (fractions) at growing numbers of training videos."""

    variant: str
    videos: tuple[int, ...]
    means: tuple[float, ...]
    bands: tuple[tuple[float, float], ...]  # 95 % t interval of the mean over runs; the mean with one run
    stars: tuple[bool, ...]  # differs from the baseline, as the verdict says


def lines_over_videos(tables: Sequence[AtCondition], classes: int) -> list[Line]:
    """A line for every variant with runs at two or more numbers of training videos."""
    lines = []
    for name, rows in rows_by_variant(tuple(tables)).items():
        points = [
            (one.condition.videos_per_class * classes, row)
            for one, row in zip(tables, rows, strict=True)
            if row is not None and row.runs and one.condition.videos_per_class is not None
        ]
        points.sort(key=lambda point: point[0])
        if len(points) > 1:
            lines.append(
                Line(
                    variant=name,
                    videos=tuple(videos for videos, _ in points),
                    means=tuple(row.mean for _, row in points),
                    bands=tuple(_band(row) for _, row in points),
                    stars=tuple(row.verdict in STAR for _, row in points),
                )
            )
    return lines


def _band(row: Row) -> tuple[float, float]:
    if row.runs < 2:
        return row.mean, row.mean
    half = float(stats.t.ppf(0.975, row.runs - 1)) * row.standard_error
    return row.mean - half, row.mean + half


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


def curves(runs: Sequence[tuple[Run, Path]]) -> dict[str, list[Curve]]:
    """Variant -> its runs' learning curves; a run that logs no epochs, as the probe, has none."""
    found: dict[str, list[Curve]] = {}
    for run, folder in runs:
        if run.variant != LINEAR_PROBE and (Path(folder) / "log.csv").is_file():
            found.setdefault(run.variant, []).append(read_curve(Path(folder) / "log.csv", run.seed))
    return found


def read_curve(path: Path, seed: int) -> Curve:
    """Read a run's log.csv.

    Raises:
        DataError: naming the file, if a column is missing or a value is no number.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        return Curve(
            seed=seed,
            epochs=tuple(float(row["epoch"]) for row in rows),
            loss=tuple(float(row["loss"]) for row in rows),
            accuracy=tuple(float(row["accuracy"]) for row in rows),
            validation=tuple(
                (float(row["epoch"]), float(row["validation_accuracy"]))
                for row in rows
                if row["validation_accuracy"] not in ("", None)
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not the log of a run ({error!r}): train it again") from error


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
        groups=tuple(len({video.group or video.path for video in part}) for part in parts),
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
