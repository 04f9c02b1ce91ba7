"""What a study of this size could have seen, and how many runs would settle it."""

import dataclasses

import numpy as np
from scipy import stats

from timelift.comparison.twoway import Components


def smallest_detectable(variance: float, df: float, level: float, power: float = 0.8) -> float:
    """The true difference that a two-sided test at `level` finds with probability `power` (Bloom 1995)."""
    if df < 1:
        return float("inf")
    quantiles = stats.t.ppf(1 - level / 2, df) + stats.t.ppf(power, df)
    return float(quantiles * np.sqrt(variance))


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
    different = abs(mean) > stats.t.ppf(1 - level / 2, df) * error
    equivalent = abs(mean) + stats.t.ppf(1 - level, df) * error < margin
    return next((runs for runs, settled in zip(counts, different | equivalent, strict=True) if settled), None)
