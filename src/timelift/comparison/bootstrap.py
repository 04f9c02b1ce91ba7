"""Bootstrap intervals of a mean paired difference over runs, to stand beside the verdict's interval.

They decide nothing: docs/statistics.md has their coverage. There is no plain percentile interval. Under
`FEWEST_RUNS` runs, and where all runs differ by the same, there are too few different resamples to speak of,
and both ends are nan.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from timelift.comparison.twoway import Interval

FEWEST_RUNS = 5
DRAWS = 9999
UNKNOWN: Interval = (float("nan"), float("nan"))


def bca_interval(
    difference: np.ndarray, level: float, rng: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """The bias-corrected and accelerated (1 - level) interval of the mean of (runs,) (BCa, Efron 1987)."""
    if not _enough(difference):
        return UNKNOWN
    resampled = difference[resamples(len(difference), draws, rng)].mean(axis=1)
    runs = len(difference)
    left_out = (difference.sum() - difference) / (runs - 1)
    return bca(resampled, float(difference.mean()), [left_out], level)


def bootstrap_t_interval(
    difference: np.ndarray, level: float, rng: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """The bootstrap-t (1 - level) interval of the mean of (runs,) (Efron 1981; Hall 1988: studentised).

    A resample of one run repeated has no spread and an infinite t; where the level asks for it, that end of
    the interval is infinite.
    """
    if not _enough(difference):
        return UNKNOWN
    runs, mean = len(difference), float(difference.mean())
    drawn = difference[resamples(runs, draws, rng)]
    shift, spread = drawn.mean(axis=1) - mean, drawn.std(axis=1, ddof=1)
    alike = np.ptp(drawn, axis=1) <= 1e-12  # as differences of the same counts of videos may be by rounding
    t = np.copysign(np.where(np.abs(shift) > 1e-12, np.inf, 0.0), shift)
    np.divide(shift, spread, out=t, where=~alike)
    low, high = np.sort(t)[_outer_ranks(draws, level)]
    error = float(difference.std(ddof=1))
    return mean - float(high) * error, mean - float(low) * error


def bca(resampled: np.ndarray, observed: float, left_out: Sequence[np.ndarray], level: float) -> Interval:
    """Efron's (1987) BCa interval of any statistic.

    resampled: (draws,) its values on resamples. left_out: for each of the independent samples that were
    resampled, its values with one member of that sample left out in turn (Davison and Hinkley 1997, ch. 5).
    """
    below = ((resampled < observed).mean() + (resampled <= observed).mean()) / 2
    bias, tails = stats.norm.ppf(below), stats.norm.ppf([level / 2, 1 - level / 2])
    shifted = bias + tails
    shares = stats.norm.cdf(bias + shifted / (1 - _acceleration(left_out) * shifted))
    if not np.isfinite(shares).all():
        return UNKNOWN
    lower, upper = np.quantile(resampled, shares)
    return float(lower), float(upper)


def resamples(count: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the members of every resample: (draws, count)."""
    return rng.integers(0, count, (draws, count))


def _acceleration(left_out: Sequence[np.ndarray]) -> float:
    influence = [(len(one) - 1) * (one.mean() - one) / len(one) for one in left_out]
    spread = sum((one**2).sum() for one in influence)
    return float(sum((one**3).sum() for one in influence) / (6 * spread**1.5)) if spread > 0 else float("nan")


def _enough(difference: np.ndarray) -> bool:
    return len(difference) >= FEWEST_RUNS and float(np.ptp(difference)) > 1e-12


def _outer_ranks(draws: int, level: float) -> list[int]:
    """Of the two order statistics that cut off at most level / 2 each, from 0."""
    rank = max(int((draws + 1) * level / 2 + 1e-9), 1)
    return [rank - 1, draws - rank]
