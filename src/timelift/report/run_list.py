"""Every run of a study at a condition, whatever became of it: for the page's list and for runs.csv."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from timelift.comparison.store import Cell
from timelift.comparison.table_text import plain
from timelift.records import Run
from timelift.records.run import read_run
from timelift.report.curves import anchor
from timelift.report.facts import relative
from timelift.report.words import last_line

JUDGED, TRIED = "acc/top1/video", "acc/top1/validation"  # a run's accuracy; that of a selection run
COLUMNS = (
    "condition", "variant", "tries", "seed", "state", "accuracy", "validation_accuracy", "train_seconds",
    "parameters", "multiply_adds", "latency", "selection", "notes", "error", "folder",
)  # fmt: skip


@dataclass(frozen=True)
class RunLine:
    """One run: judged on test videos, or made for a choice (`tries`) and judged on validation videos."""

    condition: str
    variant: str
    seed: int
    state: str
    tries: str = ""
    accuracy: float = math.nan  # on test videos; of a selection run on validation videos
    run: Run | None = None  # of a finished one
    error: str = ""  # the last line of a failed one's traceback
    folder: str = ""  # as a link from the page
    has_log: bool = False

    @property
    def curve(self) -> str:
        """The id of the run's line among the page's learning curves; "" without one."""
        return f"{anchor(self.variant)}-seed-{self.seed}" if self.has_log and not self.tries else ""


@dataclass(frozen=True)
class Tried:
    """One choice that selection runs tried for a variant."""

    variant: str
    choice: str
    runs: tuple[RunLine, ...]
    mean: float  # validation accuracy over the finished ones; nan without one
    is_chosen: bool

    @property
    def count(self) -> int:
        """How many runs tried it."""
        return len(self.runs)


def run_lines(
    cells: Iterable[tuple[Cell, Path]], runs: Sequence[tuple[Run, Path]], into: Path
) -> list[RunLine]:
    """All runs in the order of variants, choices and seeds; links are relative to `into`.

    cells: with their folders, those of selection runs too; runs: the finished ones that were judged.
    """
    known = {(run.variant, run.seed): run for run, _ in runs}
    lines = [_line(cell, folder, known, into) for cell, folder in cells]
    place = {name: i for i, name in enumerate(dict.fromkeys(line.variant for line in lines))}
    return sorted(lines, key=lambda line: (bool(line.tries), place[line.variant], line.tries, line.seed))


def cells_of(
    runs: Sequence[tuple[Run, Path]], failed: Sequence[Cell], condition: str
) -> list[tuple[Cell, Path]]:
    """The cells behind finished runs and failed ones, where no store tells of the others."""
    done = [(Cell(0, condition, run.variant, "", run.seed, state="done"), path) for run, path in runs]
    return [*done, *((cell, Path()) for cell in failed)]


def _line(cell: Cell, folder: Path, known: Mapping[tuple[str, int], Run], into: Path) -> RunLine:
    run = None
    if cell.state == "done":
        run = read_run(folder) if cell.choice else known.get((cell.variant, cell.seed))
    metrics = run.metrics if run else {}
    return RunLine(
        condition=cell.condition,
        variant=cell.variant,
        seed=cell.seed,
        state=cell.state,
        tries=cell.choice,
        accuracy=metrics.get(TRIED if cell.choice else JUDGED, math.nan),
        run=run,
        error=last_line(cell.error) if cell.state == "failed" else "",
        folder=relative(folder, into) if folder.is_dir() and folder != Path() else "",
        has_log=run is not None and (folder / "log.csv").is_file(),
    )


@dataclass(frozen=True)
class OfVariant:
    """The judged runs of one variant, and the notes that all its finished runs share."""

    variant: str
    shared: tuple[str, ...]
    lines: tuple[RunLine, ...]

    def told(self, line: RunLine) -> str:
        """How the epoch was chosen, with the notes that are this run's own."""
        if line.run is None:
            return ""
        return "; ".join((line.run.selection, *(n for n in line.run.notes if n not in self.shared)))


def by_variant(lines: Sequence[RunLine]) -> list[OfVariant]:
    """The runs that are judged, by variant, in their order."""
    groups: dict[str, list[RunLine]] = {}
    for line in lines:
        if not line.tries:
            groups.setdefault(line.variant, []).append(line)
    return [OfVariant(name, _shared(of), tuple(of)) for name, of in groups.items()]


def _shared(lines: Sequence[RunLine]) -> tuple[str, ...]:
    runs = [line.run for line in lines if line.run is not None]
    return tuple(note for note in runs[0].notes if all(note in run.notes for run in runs)) if runs else ()


def tried(lines: Sequence[RunLine], chosen: Mapping[str, str]) -> list[Tried]:
    """The choices of every variant, best first. chosen: variant -> the choice that it was judged by."""
    groups: dict[tuple[str, str], list[RunLine]] = {}
    for line in lines:
        if line.tries:
            groups.setdefault((line.variant, line.tries), []).append(line)
    found = [
        Tried(variant, choice, tuple(of), _mean(of), chosen.get(variant) == choice)
        for (variant, choice), of in groups.items()
    ]
    place = {name: i for i, name in enumerate(dict.fromkeys(one.variant for one in found))}
    return sorted(found, key=lambda one: (place[one.variant], -one.mean if one.mean == one.mean else 1.0))


def _mean(lines: Sequence[RunLine]) -> float:
    values = [line.accuracy for line in lines if math.isfinite(line.accuracy)]
    return sum(values) / len(values) if values else math.nan


def runs_csv(lines: Iterable[RunLine]) -> str:
    """One line a run; accuracies as fractions, unknown numbers empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        values = _values(line)
        writer.writerow([plain(values.get(column, "")) for column in COLUMNS])
    return text.getvalue()


def _values(line: RunLine) -> dict[str, object]:
    values: dict[str, object] = {
        "condition": line.condition,
        "variant": line.variant,
        "tries": line.tries,
        "seed": line.seed,
        "state": line.state,
        "validation_accuracy" if line.tries else "accuracy": line.accuracy,
        "error": line.error,
        "folder": line.folder,
    }
    run = line.run
    if run is None:
        return values
    return values | {
        "train_seconds": run.seconds.get("train", math.nan),
        "parameters": run.parameters,
        "multiply_adds": "" if run.multiply_adds is None else run.multiply_adds,
        "latency": "" if run.latency is None else run.latency,
        "selection": run.selection,
        "notes": " | ".join(run.notes),
    }
