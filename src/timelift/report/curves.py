"""Curves as a page draws them: a run's epochs, and a variant's accuracy over numbers of training videos."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timelift.comparison.store import slug
from timelift.comparison.study import LINEAR_PROBE
from timelift.comparison.summary import STAR, AtCondition, rows_by_variant
from timelift.records import DataError, Run


@dataclass(frozen=True)
class Curve:
    """One run's log.csv: a number an epoch; validation is empty where the run had none."""

    seed: int
    epochs: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    validation: tuple[tuple[float, float], ...]  # (epoch, accuracy)


@dataclass(frozen=True)
class Line:
    """One variant's accuracy (fractions) at growing numbers of training videos."""

    variant: str
    videos: tuple[int, ...]
    means: tuple[float, ...]
    bands: tuple[tuple[float, float], ...]  # 95 % t interval of the mean over runs; the mean with one run
    stars: tuple[bool, ...]  # differs from the baseline, as the verdict says


def anchor(variant: str) -> str:
    """The id of a variant's learning curves on its page; `anchor(variant)-SEED` is that of a run's line."""
    return f"learning-{slug(variant)}"


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
                    bands=tuple(row.mean_interval for _, row in points),
                    stars=tuple(row.verdict in STAR for _, row in points),
                )
            )
    return lines
