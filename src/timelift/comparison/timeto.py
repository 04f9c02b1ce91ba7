"""How long a run trains until it reaches an accuracy, or that it never did."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from timelift.records.errors import UsageError


@dataclass(frozen=True, eq=False)
class Times:
    """Of every run, in the unit of its checks: steps or seconds."""

    time: np.ndarray  # (runs,) the first check at or above the target; where censored, the last check
    reached: np.ndarray  # (runs,) bool; False: censored, it would take longer than was watched


def target_accuracy(finals: Sequence[ArrayLike], share: float) -> float:
    """`share` of the best variant's mean final accuracy: (runs,) of each variant -> one target for all.

    Raises:
        UsageError: without runs, or for a share outside 0..1.
    """
    if not 0 < share <= 1:
        raise UsageError(f"share: {share} came; a fraction above 0 and up to 1 is wanted, such as 0.9")
    if not finals or any(np.size(one) == 0 for one in finals):
        raise UsageError("a variant without runs has no final accuracy; give at least one run of each")
    return share * max(float(np.asarray(one, dtype=np.float64).mean()) for one in finals)


def time_to(curves: ArrayLike, at: ArrayLike, target: float) -> Times:
    """When each run first reached `target`: accuracies (runs, checks), at (checks,) or (runs, checks).

    at: the steps or seconds of the checks, growing. A time is that of a check, never between two: how often
    a run is checked is how exact its time can be. nan is a check that did not happen; a run that ended early
    has them at its end, and is censored at its last check.

    Raises:
        UsageError: if shapes do not fit, checks do not grow, or a run was never checked.
    """
    curves, at = np.asarray(curves, dtype=np.float64), np.asarray(at, dtype=np.float64)
    if curves.ndim != 2 or at.shape not in (curves.shape, curves.shape[1:]):
        raise UsageError(
            f"curves of shape {curves.shape} at {at.shape}; (runs, checks) at (checks,) or (runs, checks)"
        )
    times, checked = np.broadcast_to(at, curves.shape), np.isfinite(curves)
    if not (np.diff(at, axis=-1) > 0).all():
        raise UsageError("the steps or seconds of the checks do not grow; give them in order, each once")
    if not checked.any(axis=1).all():
        raise UsageError("a run has no accuracy at any check; leave it out of both variants")
    above = checked & (curves >= target)
    reached = above.any(axis=1)
    last = curves.shape[1] - 1 - checked[:, ::-1].argmax(axis=1)
    check = np.where(reached, above.argmax(axis=1), last)
    return Times(time=times[np.arange(len(curves)), check], reached=reached)


def joined(times: Sequence[Times]) -> Times:
    """The runs of all, in order.

    Raises:
        UsageError: without any.
    """
    if not times:
        raise UsageError("no times came; at least one run is wanted")
    return Times(np.concatenate([one.time for one in times]), np.concatenate([one.reached for one in times]))


def median_time(times: Times) -> float:
    """When half of the runs have reached the target (Kaplan and Meier 1958); inf if that was not seen."""
    sample = stats.CensoredData.right_censored(times.time, ~times.reached)
    waiting = stats.ecdf(sample).sf
    half = waiting.probabilities <= 0.5 + 1e-12
    return float(waiting.quantiles[half.argmax()]) if half.any() else float("inf")
