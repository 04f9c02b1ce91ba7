"""Looking at a growing study more than once, and what that does to its level.

A study says beforehand how many seeds it starts with and at most has. Every look then spends a part of the
level (Lan and DeMets 1983) along Pocock's (1977) or O'Brien and Fleming's (1979) shape. Looks that were not
planned spend more than the level; how much is computed and said. Information is counted in seeds, as if looks
shared nothing but their runs; as they also share the test videos, the truth is a little better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

Spending = Literal["pocock", "obrien-fleming"]
GRID = np.linspace(-8, 8, 1601)  # of scores
CELL = GRID[1] - GRID[0]


@dataclass(frozen=True)
class Look:
    """One look at a study: what it may use, and what has been spent with it."""

    seeds: int
    number: int  # 1 for the first
    stated: int  # seeds stated beforehand
    max_seeds: int  # at most, stated beforehand
    alpha: float  # of the whole study
    nominal: float  # level that this look uses
    spent: float  # chance of a false verdict at this or an earlier look
    planned: bool  # no more seeds than stated beforehand


def pocock_spent(alpha: float, fraction: float) -> float:
    """Level spent by Pocock's shape when `fraction` of the seeds are there."""
    return alpha * math.log(1 + (math.e - 1) * min(fraction, 1.0))


def obrien_fleming_spent(alpha: float, fraction: float) -> float:
    """Level spent by O'Brien and Fleming's shape when `fraction` of the seeds are there."""
    return float(2 * stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(min(fraction, 1.0))))


SPENT = {"pocock": pocock_spent, "obrien-fleming": obrien_fleming_spent}


def plan_look(
    seeds: Sequence[int], stated: int, max_seeds: int, alpha: float = 0.05, spending: Spending = "pocock"
) -> Look:
    """The last of the looks at `seeds` numbers of seeds, each taken once, in growing order.

    Within `max_seeds` the nominal level follows the spending function; beyond, a look uses the plain level,
    and `spent` says what all looks together amount to.
    """
    counts = sorted(set(seeds))
    levels = nominal_levels(counts, max_seeds, alpha, spending)
    last = counts[-1]
    spent = false_verdict_rate(levels, [c / last for c in counts])
    return Look(last, len(counts), stated, max_seeds, alpha, levels[-1], spent, last <= max_seeds)


def nominal_levels(
    counts: Sequence[int], max_seeds: int, alpha: float = 0.05, spending: Spending = "pocock"
) -> list[float]:
    """The level of each look, at growing numbers of seeds; the plain level beyond `max_seeds`."""
    levels: list[float] = []
    for number, count in enumerate(counts, start=1):
        if count > max_seeds:
            levels.append(alpha)
        else:
            fractions = [c / max_seeds for c in counts[:number]]
            levels.append(_next_level(levels, fractions, SPENT[spending](alpha, fractions[-1])))
    return levels


def _next_level(levels: list[float], fractions: list[float], spend: float) -> float:
    """The nominal level at which the looks together spend `spend`, found by halving."""
    if not levels:
        return spend
    rejected, density = _before_last(levels, fractions)
    low, high = 0.0, spend
    for _ in range(40):
        middle = (low + high) / 2
        enough = rejected + _mass(density * _outside(middle, fractions[-1])) > spend
        low, high = (low, middle) if enough else (middle, high)
    return low


def false_verdict_rate(levels: Sequence[float], fractions: Sequence[float]) -> float:
    """Chance that any two-sided look at its level rejects, though nothing differs.

    fractions: of the information at each look, growing. By recursive integration over the score's density
    (Armitage, McPherson and Rowe 1969).
    """
    rejected, density = _before_last(levels, fractions)
    return rejected + _mass(density * _outside(levels[-1], fractions[-1]))


def _before_last(levels: Sequence[float], fractions: Sequence[float]) -> tuple[float, np.ndarray]:
    """What looks before the last reject, and the density of the other scores at the last, on `GRID`."""
    density, rejected = stats.norm.pdf(GRID, scale=math.sqrt(fractions[0])), 0.0
    for level, fraction, after in zip(levels, fractions, fractions[1:], strict=False):
        outside = _outside(level, fraction)
        rejected += _mass(density * outside)
        gained = stats.norm.pdf(GRID, scale=math.sqrt(after - fraction))
        density = np.convolve(density * (1 - outside), gained, mode="same") * CELL
    return rejected, density


def _outside(level: float, fraction: float) -> np.ndarray:
    """The share of each cell of `GRID` that a look at `level` rejects."""
    bound = stats.norm.isf(level / 2) * math.sqrt(fraction)
    return np.clip((np.abs(GRID) - bound) / CELL + 0.5, 0.0, 1.0)


def _mass(density: np.ndarray) -> float:
    return float(density.sum() * CELL)


def describe_look(look: Look) -> str:
    """What a reader must know about this look; empty for the one look that was planned."""
    if look.number == 1 and look.planned and look.max_seeds == look.stated:
        return ""
    stated = f"{look.stated} stated beforehand, at most {look.max_seeds}"
    text = f"Look {look.number}, at {look.seeds} seeds ({stated}): "
    level = f"nominal level {100 * look.nominal:.2g} %, spent so far {100 * look.spent:.2g} %"
    if look.planned:
        return text + f"{level} of {100 * look.alpha:.2g} %."
    return (
        text + f"{level}. More seeds than stated beforehand: with {look.number} looks a false verdict is "
        f"expected in {100 * look.spent:.2g} % of such studies, not in {100 * look.alpha:.2g} %."
    )
