"""One variant against one baseline over paired runs: the difference, how sure it is, and what to say."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from timelift.comparison import evidence as ev
from timelift.comparison.evidence import Evidence
from timelift.comparison.power import runs_to_settle, smallest_detectable
from timelift.comparison.signflip import floor
from timelift.comparison.twoway import Interval
from timelift.comparison.wording import notes_of, sentence_of
from timelift.records.errors import UsageError

Verdict = Literal["better", "worse", "equivalent", "inconclusive", "too few runs", "stopped early"]
MOST_RUNS = 100  # beyond it, "more runs" is no advice


@dataclass(frozen=True)
class PairedDifference:
    """`variant` less `baseline` in accuracy (fractions), over paired runs; `interval` decides `verdict`."""

    baseline: str
    variant: str
    mean: float  # variant - baseline
    runs: int  # pairs
    videos: int | None  # None: accuracies only
    groups: int | None  # of videos; a video without a group is its own
    interval_seeds: Interval  # on exactly these videos, trained again
    interval: Interval  # on new videos like these, trained again; without videos equal to interval_seeds
    level: float  # of the intervals: 0.05 gives 95 %
    alpha: float  # of the study; in a family `level` is smaller
    p: float  # goes with `interval`
    p_adjusted: float  # over the family (Holm); p itself for one comparison
    p_seeds: float  # goes with `interval_seeds`
    p_t: float  # paired t over runs
    p_sign_flip: float
    p_sign_flip_floor: float  # 2 / 2^runs
    p_mcnemar: float | None  # one run against one run only
    effect_size: float  # mean / standard deviation over runs, Hedges' correction; nan where there is none
    margin: float
    equivalent: bool  # `interval` lies inside +-margin
    smallest_detectable: float  # true difference found with 80 % power by a study like this
    runs_to_settle: int | None  # a guess; None: not within 100 runs, or nothing to settle
    verdict: Verdict
    sentence: str = ""
    notes: tuple[str, ...] = ()
    differences: tuple[float, ...] = ()  # of each pair of runs, in order


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    *,
    alpha: float = 0.05,
    margin: float = 0.02,
    level: float | None = None,
    names: tuple[str, str] = ("a", "b"),
) -> PairedDifference:
    """How much better `b` is than the baseline `a`, and what may be concluded from it.

    a, b: (runs,) accuracies, or (runs, videos) of 1 where right and 0 where wrong; run i of both was trained
    on the same videos, and all answered the same videos. groups: (videos,) names; videos of one group are not
    independent; "" is a group of its own. level: of the intervals, alpha unless a family says otherwise.
    rng draws sign flips above 16 runs (a fixed seed unless given). See docs/statistics.md.

    Raises:
        UsageError: for other shapes, values that are not fractions, or levels outside (0, 0.5).
    """
    check_levels(alpha, margin)
    if level is not None:
        check_levels(level, margin)
    used = alpha if level is None else level
    found = ev.gather(ev.as_scores(a, names[0]), ev.as_scores(b, names[1]), groups, rng, used)
    return judge(found, names, alpha=alpha, margin=margin, level=used, p_adjusted=ev.both_p(found))


def check_levels(alpha: float, margin: float) -> None:
    """Raise UsageError unless 0 < alpha < 0.5 and 0 < margin < 1."""
    if not 0 < alpha < 0.5:
        raise UsageError(f"alpha: {alpha} came; a level between 0 and 0.5 is wanted, such as 0.05")
    if not 0 < margin < 1:
        raise UsageError(
            f"margin: {margin} came; a fraction between 0 and 1 is wanted, such as 0.02 (2 points)"
        )


def judge(
    found: Evidence, names: tuple[str, str], *, alpha: float, margin: float, level: float, p_adjusted: float
) -> PairedDifference:
    """The record of one comparison at one level."""
    interval = ev.both_interval(found, level)
    equivalent = -margin < interval[0] and interval[1] < margin
    verdict = _verdict(found.runs, interval, equivalent)
    variance, df = _variance(found)
    result = PairedDifference(
        baseline=names[0],
        variant=names[1],
        mean=found.mean,
        runs=found.runs,
        videos=found.videos,
        groups=found.groups,
        interval_seeds=ev.seeds_interval(found, level),
        interval=interval,
        level=level,
        alpha=alpha,
        p=ev.both_p(found),
        p_adjusted=p_adjusted,
        p_seeds=ev.seeds_p(found),
        p_t=ev.paired_t_p(found),
        p_sign_flip=found.flips.p(),
        p_sign_flip_floor=floor(found.runs),
        p_mcnemar=found.mcnemar,
        effect_size=effect_size(found.difference),
        margin=margin,
        equivalent=equivalent,
        smallest_detectable=smallest_detectable(variance, df, level),
        runs_to_settle=_runs_to_settle(found, level, margin) if verdict == "inconclusive" else None,
        verdict=verdict,
        differences=tuple(found.difference.tolist()),
    )
    return dataclasses.replace(result, sentence=sentence_of(result), notes=notes_of(result))


def effect_size(difference: np.ndarray) -> float:
    """Mean over standard deviation of (runs,) paired differences (Cohen's d_z), less Hedges' (1981) bias."""
    runs = len(difference)
    spread = float(difference.std(ddof=1)) if runs > 1 else 0.0
    if spread <= 1e-12:
        return float("nan")
    return float(difference.mean()) / spread * (1 - 3 / (4 * (runs - 1) - 1))


def _verdict(runs: int, interval: Interval, equivalent: bool) -> Verdict:
    if runs < ev.FEWEST_RUNS:
        return "too few runs"
    if interval[0] > 0:
        return "better"
    if interval[1] < 0:
        return "worse"
    return "equivalent" if equivalent else "inconclusive"


def _variance(found: Evidence) -> tuple[float, float]:
    if found.agree:
        return float("inf"), 0.0  # nothing varied: how much new videos would is not known
    if found.parts is not None:
        return found.parts.variance, found.parts.df
    unknown = found.runs < ev.FEWEST_RUNS or found.videos is not None
    return (float("inf"), 0.0) if unknown else (found.seed_variance, found.runs - 1)


def _runs_to_settle(found: Evidence, level: float, margin: float) -> int | None:
    if found.parts is None or found.agree:
        return None
    return runs_to_settle(found.mean, found.parts, level, margin, MOST_RUNS)
