"""From scores over time to what a person reads: the k best classes of every time window, as CSV or JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from timelift.records import UsageError


@dataclass(frozen=True)
class Answer:
    """One class for one stretch of one video; rank 1 is the most probable."""

    video: str
    start_seconds: float
    end_seconds: float
    rank: int
    label: str
    probability: float


COLUMNS = ("video", "start_seconds", "end_seconds", "rank", "class", "probability")


def top_answers(
    video: str,
    windows_seconds: Sequence[tuple[float, float]],
    scores: np.ndarray,
    classes: Sequence[str],
    k: int,
) -> list[Answer]:
    """The k most probable classes of each window: scores (windows, classes) as probabilities, rank by rank.

    Of equal probabilities the lower class index comes first; k above the number of classes gives all.

    Raises:
        UsageError: if windows, scores and classes disagree, or k is below 1.
    """
    if scores.shape != (len(windows_seconds), len(classes)):
        raise UsageError(
            f"scores {scores.shape} for {len(windows_seconds)} windows and {len(classes)} classes: "
            "wanted (windows, classes)"
        )
    if k < 1:
        raise UsageError(f"top {k}: ask for at least one class")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # (windows, k)
    return [
        Answer(video, float(start), float(end), rank, classes[index], float(row[index]))
        for (start, end), row, order in zip(windows_seconds, scores, best, strict=True)
        for rank, index in enumerate(order, start=1)
    ]


def to_csv(answers: Iterable[Answer], header: bool = True) -> str:
    """One line an answer, under a header; probabilities with six digits, seconds with three."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for answer in answers:
        row = _row(answer)
        writer.writerow(f"{v:.6f}" if name == "probability" else v for name, v in row.items())
    return text.getvalue()


def to_json(answers: Iterable[Answer]) -> str:
    """A list of objects with the names of the CSV's columns."""
    return json.dumps([_row(answer) for answer in answers], indent=2, ensure_ascii=False) + "\n"


def _row(answer: Answer) -> dict[str, str | float | int]:
    row = dataclasses.asdict(answer)
    row["class"] = row.pop("label")
    row["start_seconds"] = round(answer.start_seconds, 3)
    row["end_seconds"] = round(answer.end_seconds, 3)
    return {name: row[name] for name in COLUMNS}
