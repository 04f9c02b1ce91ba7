"""How far a study is, in words: a line a condition and variant, then what runs now and what failed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from timelift.comparison.store import Cell
from timelift.comparison.wording import duration, plural
from timelift.records.run import RunState

STATES: tuple[RunState, ...] = ("done", "running", "failed", "stopped", "new")
MOST_CELLS = 20  # of a study that is listed cell by cell without being asked


@dataclass(frozen=True)
class Progress:
    """The cells of one condition and variant; selection runs are counted by themselves."""

    condition: str
    variant: str
    selection: bool
    counts: dict[RunState, int]
    seconds_a_run: float  # mean over finished runs, wall clock; nan without any
    left: float  # seconds of work still to do, at that pace; nan where it is not known


def progress(cells: Sequence[Cell]) -> tuple[Progress, ...]:
    """Each condition and variant in the order of its first cell; selection runs come first."""
    groups: dict[tuple[str, str, bool], list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.choice == ""):
        groups.setdefault((cell.condition, cell.variant, cell.choice != ""), []).append(cell)
    return tuple(_progress(*key, of) for key, of in groups.items())


def _progress(condition: str, variant: str, selection: bool, cells: Sequence[Cell]) -> Progress:
    times = [_seconds(cell) for cell in cells if cell.state == "done" and cell.started]
    mean = sum(times) / len(times) if times else float("nan")
    counts = Counter(cell.state for cell in cells)
    open = counts["new"] + counts["running"]
    return Progress(condition, variant, selection, dict(counts), mean, open * mean if open else 0.0)


def _seconds(cell: Cell) -> float:
    ended, began = datetime.fromisoformat(cell.finished), datetime.fromisoformat(cell.started)
    return (ended - began).total_seconds()


def progress_text(cells: Sequence[Cell], every_cell: bool = False) -> str:
    """What `timelift compare --status` prints.

    every_cell: a line for each cell, as a small study has anyway; else for those that run or failed.
    """
    shown = every_cell or len(cells) <= MOST_CELLS
    listed = [cell for cell in cells if shown or cell.state in ("running", "failed")]
    summary = [] if len(cells) <= MOST_CELLS else [*map(_line, progress(cells)), ""]
    return "\n".join([*summary, *map(_cell_line, listed), *_total(cells)])


def _line(one: Progress) -> str:
    counts = ", ".join(f"{one.counts[state]} {state}" for state in STATES if one.counts.get(state))
    where = f"{one.condition}: " if one.condition else ""
    pace = "" if one.seconds_a_run != one.seconds_a_run else f"; {duration(one.seconds_a_run)} a run"
    left = f", {duration(one.left)} of work left" if one.left > 0 else ""
    return f"{where}{one.variant}{' (selection runs)' if one.selection else ''}: {counts}{pace}{left}"


def _cell_line(cell: Cell) -> str:
    lines = cell.error.strip().splitlines() if cell.state == "failed" else []
    where = f"{cell.condition}: " if cell.condition else ""
    choice = f"  (tries {cell.choice})" if cell.choice else ""
    return f"{cell.state:8} {where}seed {cell.seed}  {cell.variant}{choice}" + "".join(
        f"  {e}" for e in lines[-1:]
    )


def _total(cells: Sequence[Cell]) -> list[str]:
    counts = Counter(cell.state for cell in cells)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    left = [one.left for one in progress(cells)]
    running = max(1, counts["running"])
    known = [seconds for seconds in left if seconds == seconds]
    if not sum(known):
        return [f"{plural(len(cells), 'run')}: {states}"]
    more = ", and those of which no run has ended yet" if len(known) < len(left) else ""
    time = f"about {duration(sum(known) / running)} left with {running} at a time{more}"
    return [f"{plural(len(cells), 'run')}: {states}; {time}"]
