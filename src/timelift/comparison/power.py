"""What a study of this size could have seen, and how many runs would settle it."""

import dataclasses

import numpy as np
from scipy import optimize, special, stats

from timelift.comparison.twoway import Components

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def power_of(effect: float, df: float, level: float) -> float:
    """Chance that a two-sided t test at `level` finds a true difference of `effect` standard errors.

    df: degrees of freedom, 1 or more, not always whole. It is what the noncentral t has in its two tails
    (Johnson and Welch 1940).
    """
    return _power(effect, _bounds(df, level))


def _bounds(df: float, level: float) -> np.ndarray:
    """The bound of the t test in true standard errors, as the estimated one may fall out: at `NODES`."""
    return stats.t.ppf(1 - level / 2, df) * np.sqrt(stats.chi2.ppf((NODES + 1) / 2, df) / df)


def _power(effect: float, bounds: np.ndarray) -> float:
    found = special.ndtr(effect - bounds) + special.ndtr(-effect - bounds)
    return float((WEIGHTS / 2 * found).sum())


def smallest_detectable(variance: float, df: float, level: float, power: float = 0.8) -> float:
    """The true difference that a two-sided t test at `level` finds with probability `power`.

    variance: of the mean difference. The sum of two t quantiles (Bloom 1995) is the usual shortcut; with 3
    runs what it gives is found in 77 % where 80 % are meant, so the noncentral t is inverted.
    """
    if df < 1 or np.isinf(variance):
        return float("inf")
    if variance == 0:
        return 0.0
    bounds, shortcut = _bounds(df, level), stats.t.ppf(1 - level / 2, df) + stats.t.ppf(power, df)
    effect = optimize.brentq(lambda effect: _power(effect, bounds) - power, 0.0, 3 * shortcut, xtol=1e-9)
    return float(effect * np.sqrt(variance))


def with_runs(parts: Components, runs: int) -> Components:
    """The components to expect from `runs` runs on the same test videos, should the estimates hold."""
    factor = (parts.run_df + 1) / runs
    return dataclasses.replace(
        parts,
        runs=parts.runs * factor,
        groups=parts.video_part + parts.interaction * factor,
        interaction=parts.interaction * factor,
        run_df=runs - 1,
    )


def runs_to_settle(mean: float, parts: Components, level: float, margin: float, most: int) -> int | None:
    """The fewest runs at which this mean would be told from 0 or from the margin; None if `most` is too few.

    A guess from the runs at hand: as good as their mean and spread.
    """
    counts = range(round(parts.run_df) + 2, most + 1)
    expected = [with_runs(parts, runs) for runs in counts]
    error = np.sqrt([one.variance for one in expected])
    df = np.array([one.df for one in expected])
    bound = stats.t.ppf(1 - level / 2, df)
    different = abs(mean) > bound * error
    equivalent = abs(mean) + bound * error < margin
    return next((runs for runs, settled in zip(counts, different | equivalent, strict=True) if settled), None)
