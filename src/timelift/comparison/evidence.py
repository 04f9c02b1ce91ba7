"""What paired runs say about a difference: estimates, and intervals at whatever level is asked for."""

from dataclasses import dataclass

import numpy as np

from timelift.comparison.mcnemar import exact_mcnemar
from timelift.comparison.signflip import SignFlip, floor, sign_flip
from timelift.comparison.twoway import Components, Interval, components, t_interval, t_p
from timelift.records.errors import UsageError

FEWEST_RUNS = 3
SIGN_FLIP_RUNS = 10  # with fewer, the sign-flip test is too coarse to decide
UNBOUNDED: Interval = (float("-inf"), float("inf"))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Paired differences, variant less baseline, and what their variance is made of."""

    difference: np.ndarray  # (runs,) of accuracies, fractions
    videos: int | None  # None: only accuracies were given
    groups: int | None
    parts: Components | None  # None: too few runs, no videos, or one group
    flips: SignFlip
    sign_flip_decides: bool
    mcnemar: float | None = None  # one run against one run only
    agree: bool = False  # no video was answered otherwise in any pair of runs

    @property
    def runs(self) -> int:
        """Pairs of runs."""
        return len(self.difference)

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(self.difference.mean())

    @property
    def seed_variance(self) -> float:
        """Of the mean, over runs on exactly these videos."""
        return float(self.difference.var(ddof=1) / self.runs) if self.runs > 1 else float("inf")


def as_groups(groups: object, videos: int) -> np.ndarray:
    """Group numbers of the videos: (videos,); a video without a group ("" or groups=None) is its own.

    Raises:
        UsageError: if there are not as many groups as videos.
    """
    if groups is None:
        return np.arange(videos)
    names = [str(group) for group in np.asarray(groups).ravel()]
    if len(names) != videos:
        raise UsageError(f"{len(names)} groups for {videos} videos; give one group name a video")
    keys = [("", str(i)) if name == "" else (name, "") for i, name in enumerate(names)]
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys])


def as_scores(values: object, name: str) -> np.ndarray:
    """Accuracies (runs,) or correctness (runs, videos) as float64.

    Raises:
        UsageError: for another shape, nothing, or numbers that are not fractions.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim not in (1, 2) or scores.size == 0:
        raise UsageError(
            f"{name} has shape {scores.shape}; give (runs,) accuracies or (runs, videos) of 0 and 1"
        )
    if not ((scores >= 0) & (scores <= 1)).all():
        raise UsageError(f"{name} has values outside 0..1; give fractions, not percent")
    if scores.ndim == 2 and not np.isin(scores, (0.0, 1.0)).all():
        raise UsageError(
            f"{name} has values between 0 and 1; (runs, videos) must be 1 where right and 0 where wrong"
        )
    return scores


def sign_flip_may_decide(runs: int, level: float) -> bool:
    """Whether the sign-flip test is fine enough to decide at `level`."""
    return runs >= SIGN_FLIP_RUNS and floor(runs) <= level


def seeds_interval(evidence: Evidence, level: float) -> Interval:
    """For "on exactly these videos, trained again": the sign-flip test's where it decides, else paired t."""
    if evidence.runs < FEWEST_RUNS or _spread_unknown(evidence):
        return UNBOUNDED
    if evidence.sign_flip_decides:
        return evidence.flips.interval(level)
    lower, upper = t_interval(evidence.mean, evidence.seed_variance, evidence.runs - 1, level)
    return float(lower), float(upper)


def paired_t_p(evidence: Evidence) -> float:
    """Two-sided p of the paired t test over runs (Student 1908)."""
    if evidence.runs < FEWEST_RUNS or _spread_unknown(evidence):
        return 1.0
    return float(t_p(evidence.mean, evidence.seed_variance, evidence.runs - 1))


def seeds_p(evidence: Evidence) -> float:
    """The p that goes with `seeds_interval`."""
    if evidence.sign_flip_decides and not _spread_unknown(evidence):
        return evidence.flips.p()
    return paired_t_p(evidence)


def both_interval(evidence: Evidence, level: float) -> Interval:
    """For "on new videos like these, trained again": over seeds and groups of videos.

    It contains `seeds_interval`: new videos cannot make a difference surer. Without videos
    it is `seeds_interval`; with videos of one group it is unbounded. Where no video was answered otherwise,
    it is what so many groups leave open: the exact bound on how often a group would be (Clopper and Pearson
    1934; 3 / groups at 95 %).
    """
    seeds = seeds_interval(evidence, level)
    if evidence.videos is None or evidence.runs < FEWEST_RUNS:
        return seeds
    if evidence.parts is None or evidence.groups is None:
        return UNBOUNDED
    if evidence.agree:
        left_open = 1 - float(level) ** (1 / evidence.groups)
        return -left_open, left_open
    lower, upper = t_interval(evidence.mean, evidence.parts.variance, evidence.parts.df, level)
    return min(float(lower), seeds[0]), max(float(upper), seeds[1])


def both_p(evidence: Evidence) -> float:
    """The p that goes with `both_interval`."""
    if evidence.videos is None or evidence.runs < FEWEST_RUNS:
        return seeds_p(evidence)
    if evidence.parts is None:
        return 1.0
    new_videos = float(t_p(evidence.mean, evidence.parts.variance, evidence.parts.df))
    return max(new_videos, seeds_p(evidence))


def _spread_unknown(evidence: Evidence) -> bool:
    """Accuracies alone that never vary: the test set is too coarse to show how the runs vary."""
    constant = float(np.ptp(evidence.difference)) <= 1e-12
    return evidence.videos is None and constant and not evidence.sign_flip_decides


def gather(
    a: np.ndarray, b: np.ndarray, groups: object, rng: np.random.Generator | None, smallest_level: float
) -> Evidence:
    """The evidence of `b` against `a`; `smallest_level` is the strictest at which it will be judged.

    Raises:
        UsageError: if the shapes differ, or groups come without videos.
    """
    if a.shape != b.shape:
        raise UsageError(f"shapes {a.shape} and {b.shape}; paired runs need the same runs on the same videos")
    if a.ndim == 1 and groups is not None:
        raise UsageError(
            "groups are of videos; give (runs, videos) correctness with them, not (runs,) accuracies"
        )
    runs = len(a)
    difference = b - a if a.ndim == 1 else b.mean(axis=1) - a.mean(axis=1)
    member = as_groups(groups, a.shape[1]) if a.ndim == 2 else None
    count = None if member is None else len(np.unique(member))
    enough = runs >= FEWEST_RUNS and count is not None and count >= 2
    return Evidence(
        difference=difference,
        videos=None if member is None else len(member),
        groups=count,
        parts=components(b - a, member) if enough and member is not None else None,
        flips=sign_flip(difference, rng or np.random.default_rng(0)),
        sign_flip_decides=sign_flip_may_decide(runs, smallest_level),
        mcnemar=exact_mcnemar(a[0], b[0]) if runs == 1 and a.ndim == 2 else None,
        agree=member is not None and bool((a == b).all()),
    )
