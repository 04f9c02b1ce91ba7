"""A promise of the statistics, and how often simulated studies kept it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

GROWN = 0  # seeds of a study that was looked at again and again


@dataclass(frozen=True)
class Criterion:
    """One figure of the calibration; without bounds it is shown for comparison only."""

    what: str
    variants: int
    seeds: int
    test_set: str
    found: float  # share of studies
    studies: int
    low: float = 0.0
    high: float = 1.0

    @property
    def error(self) -> float:
        """Binomial standard error of `found`."""
        return math.sqrt(self.found * (1 - self.found) / self.studies)

    @property
    def holds(self) -> bool:
        """Whether the figure itself, not only within its error, lies in the bounds."""
        return self.low <= self.found <= self.high

    @property
    def wanted(self) -> str:
        """The bounds in percent; "" where nothing is promised."""
        low, high = (f"{100 * bound:.1f}" for bound in (self.low, self.high))
        if self.low > 0 and self.high < 1:
            return f"{low} to {high}"
        return f"at least {low}" if self.low > 0 else f"at most {high}" if self.high < 1 else ""


@dataclass(frozen=True)
class Row:
    """Makes criteria of one row of the table: one kind of study on one test set."""

    variants: int
    seeds: int
    test_set: str

    def share(self, what: str, hits: ArrayLike, low: float = 0.0, high: float = 1.0) -> Criterion:
        """Of (studies,) true or false."""
        hits = np.asarray(hits)
        return Criterion(
            what, self.variants, self.seeds, self.test_set, float(hits.mean()), len(hits), low, high
        )


def to_markdown(criteria: Sequence[Criterion]) -> str:
    """A line for each kind of study, a column for each test set; what does not hold is marked."""
    sets = tuple(dict.fromkeys(one.test_set for one in criteria))
    lines = [
        _line(("", "variants", "seeds", "wanted, %", *sets)),
        "|---|---:|---:|---:|" + "---:|" * len(sets),
    ]
    cells: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for one in criteria:
        seeds = "5 to 30" if one.seeds == GROWN else str(one.seeds)
        cells.setdefault((one.what, str(one.variants), seeds, one.wanted), {})[one.test_set] = _cell(one)
    lines += [_line((*row, *(found.get(name, "") for name in sets))) for row, found in cells.items()]
    return "\n".join(lines)


def _cell(one: Criterion) -> str:
    text = f"{100 * one.found:.1f} ± {100 * one.error:.1f}"
    return text if one.holds else f"**{text} no**"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
