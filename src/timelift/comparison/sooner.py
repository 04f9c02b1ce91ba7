"""Which of two variants reaches an accuracy sooner, when some runs never reach it.

A run that does not get there is censored. Leaving such runs out, or calling their last step their time, would
flatter a slow variant. Two questions can be answered without guessing what was not seen: the restricted mean
(Irwin 1949; Royston and Parmar 2013), the time below the target within a horizon that every run was watched
for; and the sign test, which of a pair was first. Both are over seeds, on exactly these videos. The interval
is that of accuracies over seeds: the paired t's, from 10 runs the sign-flip test's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.comparison import evidence as ev
from timelift.comparison.evidence import Evidence
from timelift.comparison.family import holm
from timelift.comparison.timeto import Times
from timelift.comparison.twoway import Interval
from timelift.comparison.wording import amount, percent, plural
from timelift.records.errors import UsageError


@dataclass(frozen=True)
class TimeDifference:
    """`variant` less `baseline` in time to the target, over paired runs; below 0 the variant is sooner."""

    baseline: str
    variant: str
    unit: str  # "steps" or "seconds"
    horizon: float
    both: int  # pairs in which both reached the target within the horizon
    only_baseline: int
    only_variant: int
    neither: int
    sooner: int  # pairs in which the variant was first
    later: int
    p_sign: float  # two-sided sign test of `sooner` against `later`; never below 2 / 2^(their sum)
    restricted_mean: float  # mean difference of times, each cut off at the horizon
    interval: Interval  # of it; unbounded under 3 pairs, and with few of them if all differ by the same
    level: float
    p: float  # goes with `interval`
    p_adjusted: float  # over the family (Holm); p itself for one comparison

    @property
    def pairs(self) -> int:
        """Pairs of runs."""
        return self.both + self.only_baseline + self.only_variant + self.neither

    @property
    def verdict(self) -> str:
        """Sooner, later, inconclusive or too few runs, as the interval says."""
        if self.pairs < ev.FEWEST_RUNS:
            return "too few runs"
        lower, upper = self.interval
        return "sooner" if upper < 0 else "later" if lower > 0 else "inconclusive"

    @property
    def sentence(self) -> str:
        """What is shown, and what the runs that never got there mean for it."""
        return _shown(self) + _censored(self)


def compare_times(
    baseline: Times,
    variant: Times,
    level: float = 0.05,
    *,
    unit: str = "steps",
    names: tuple[str, str] = ("a", "b"),
) -> TimeDifference:
    """How much sooner or later `variant` gets there than `baseline`; run i of both is a pair.

    The horizon is the shortest time that a censored run was watched; without one, nothing is cut off. A pair
    that neither finished within it is no difference in the mean, and does not count in the sign test.

    Raises:
        UsageError: if the numbers of runs differ or are zero.
    """
    pair = _watch(baseline, variant, level)
    return _judge(pair, names, unit, level, ev.seeds_p(pair.found))


def compare_times_family(
    pairs: Mapping[str, tuple[Times, Times]], baseline: str, alpha: float = 0.05, *, unit: str = "steps"
) -> tuple[TimeDifference, ...]:
    """Every variant against the baseline's runs that pair with its own, judged together (Holm).

    pairs: variant -> times of (baseline, variant). As with accuracies, a later step of Holm that rejects has
    its interval at its own level, so that p and interval agree.

    Raises:
        UsageError: if the numbers of runs of a pair differ or are zero.
    """
    strictest = alpha / max(len(pairs), 1)
    watched = [_watch(a, b, strictest) for a, b in pairs.values()]
    steps = holm(np.array([ev.seeds_p(pair.found) for pair in watched]), alpha)
    return tuple(
        _judge(pair, (baseline, name), unit, step.level, step.p_adjusted)
        for name, pair, step in zip(pairs, watched, steps, strict=True)
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both as seen by who stops watching at the horizon."""

    baseline: Times
    variant: Times
    horizon: float
    found: Evidence  # of the times, cut off


def _watch(baseline: Times, variant: Times, strictest: float) -> _Pair:
    if len(baseline.time) != len(variant.time) or not len(baseline.time):
        raise UsageError(f"{len(baseline.time)} and {len(variant.time)} runs; pairs of runs are wanted")
    horizon = _horizon(baseline, variant)
    a, b = _cut_off(baseline, horizon), _cut_off(variant, horizon)
    return _Pair(a, b, horizon, ev.gather(a.time, b.time, None, None, strictest))


def _judge(pair: _Pair, names: tuple[str, str], unit: str, level: float, p_adjusted: float) -> TimeDifference:
    a, b = pair.baseline, pair.variant
    order = _order(pair.found.difference, a, b)
    sooner, later = int((order < 0).sum()), int((order > 0).sum())
    return TimeDifference(
        *names,
        unit=unit,
        horizon=pair.horizon,
        both=int((a.reached & b.reached).sum()),
        only_baseline=int((a.reached & ~b.reached).sum()),
        only_variant=int((~a.reached & b.reached).sum()),
        neither=int((~a.reached & ~b.reached).sum()),
        sooner=sooner,
        later=later,
        p_sign=float(stats.binomtest(sooner, sooner + later).pvalue) if sooner + later else 1.0,
        restricted_mean=pair.found.mean,
        interval=ev.seeds_interval(pair.found, level),
        level=level,
        p=ev.seeds_p(pair.found),
        p_adjusted=p_adjusted,
    )


def _horizon(baseline: Times, variant: Times) -> float:
    times = np.concatenate([baseline.time, variant.time])
    reached = np.concatenate([baseline.reached, variant.reached])
    return float(times.max() if reached.all() else times[~reached].min())


def _cut_off(times: Times, horizon: float) -> Times:
    return Times(np.minimum(times.time, horizon), times.reached & (times.time <= horizon))


def _order(difference: np.ndarray, a: Times, b: Times) -> np.ndarray:
    """-1 where the variant was first, 1 where last; to get there at the horizon is sooner than never."""
    return np.sign(difference) + (difference == 0) * (a.reached.astype(int) - b.reached)


def _shown(result: TimeDifference) -> str:
    if result.neither == result.pairs:
        return f"{result.variant} and {result.baseline} never reach the target."
    lower, upper = result.interval
    if lower <= 0 <= upper:
        start = (
            f"{result.variant} cannot be told from {result.baseline} in the time to the target: the mean "
            f"difference is {amount(result.restricted_mean)} {result.unit}"
        )
    else:
        word = "sooner" if upper < 0 else "later"
        by = f"{amount(abs(result.restricted_mean))} {result.unit} {word}"
        start = f"{result.variant} reaches the target {by} than {result.baseline}"
        lower, upper = sorted((abs(lower), abs(upper)))
    between = f"{amount(lower)} to {amount(upper)}" if np.isfinite(lower) else "unbounded"
    return (
        f"{start} ({percent(result.level)} interval {between}; {plural(result.pairs, 'paired run')}, "
        f"{result.variant} first in {result.sooner}, last in {result.later})."
    )


def _censored(result: TimeDifference) -> str:
    missing = result.only_variant + result.neither, result.only_baseline + result.neither
    if not any(missing):
        return ""
    return (
        f" Within {amount(result.horizon)} {result.unit}, for which all runs were watched, {missing[0]} of "
        f"{result.pairs} runs of {result.baseline} and {missing[1]} of {result.variant} did not reach it: "
        "they count as that long, and nothing is said of the time after."
    )
