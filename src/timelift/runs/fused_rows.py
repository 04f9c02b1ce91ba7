"""Runs of several variants fused seed by seed: run i of each with run i of the others."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from timelift.comparison.fused_row import FusedRow
from timelift.comparison.study import Study
from timelift.records import Predictions, Run, UsageError
from timelift.records.predictions import VALIDATION_PREDICTIONS, read_predictions
from timelift.runs.data import PreparedData
from timelift.runs.fuse import Member, fuse, fused_record

Answered = tuple[Run, Predictions]


def fused_seeds(
    row: FusedRow, runs: Sequence[Answered], folders: Sequence[Path] | None = None
) -> list[Answered]:
    """The runs of the row's variants fused with those of the same seed, as runs of a variant of its name.

    A seed that not all of its variants have is left out. With them and the variants' own runs `study_table`
    has a row for the fusion, judged as any other. folders: of the runs, where a support vector machine finds
    validation answers.

    Raises:
        UsageError: for runs of different videos, classes or orders, naming the difference; or for a support
            vector machine without validation answers.
    """
    given = folders or [Path(f"{run.variant}, seed {run.seed}") for run, _ in runs]
    members = [
        Member(folder, run, answers, _validation(folder) if row.method == "svm" else None)
        for (run, answers), folder in zip(runs, given, strict=True)
    ]
    return [_fused(row, of_seed) for of_seed in at_each_seed(row.of, members)]


def check_fused_rows(study: Study, data: PreparedData) -> None:
    """Refuse a support vector machine where there is nothing to fit it on.

    Raises:
        UsageError: if there are no validation videos of every class.
    """
    shown = {video.label for video in data.manifest.videos if video.split == "val"}
    missing = [name for name in data.manifest.classes if name not in shown]
    for row in study.fused:
        if row.method == "svm" and missing:
            raise UsageError(
                f"fused.{row.name}.method: a support vector machine is fitted on validation videos, and none "
                f"shows {missing[0]!r}; give validation videos of every class, or take mean, sum or weighted"
            )


def at_each_seed(variants: Sequence[str], members: Sequence[Member]) -> Iterator[list[Member]]:
    """Yield the variants' runs, all of one seed; seeds in order."""
    found: list[dict[int, Member]] = [
        {m.run.seed: m for m in members if m.run is not None and m.run.variant == name} for name in variants
    ]
    for seed in sorted(set.intersection(*map(set, found))):
        yield [of[seed] for of in found]


def _fused(row: FusedRow, members: list[Member]) -> Answered:
    fuser, answers = fuse(members, row.method, row.weights)
    run, first = fused_record(fuser, members, answers, None), members[0].run
    assert first is not None
    notes = (f"{row.name}: {row.method} of {' & '.join(row.of)}, seed i with seed i",)
    return dataclasses.replace(run, variant=row.name, order_digest=first.order_digest, notes=notes), answers


def _validation(folder: Path) -> Predictions | None:
    path = folder / VALIDATION_PREDICTIONS
    return read_predictions(path) if path.is_file() else None
