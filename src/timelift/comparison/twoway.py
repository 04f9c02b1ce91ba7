"""How sure the mean difference is when both the seeds and the test videos could have been others.

Runs and groups of videos are crossed: every run answers every video. The variance of the grand mean is the
sum of what the runs contribute and what the groups contribute, less what both sums count (Cameron, Gelbach
and Miller 2011; in reader studies: Dorfman, Berbaum and Metz 1992, Hillis 2007). All of it works on one study
and, with leading axes, on many at once, as the calibration needs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Interval = tuple[float, float]
Reals = Any  # a float, or an array of them with one entry a study


@dataclass(frozen=True)
class Components:
    """Parts of the variance of a mean difference over runs and test videos (in squared fractions)."""

    runs: Reals  # of the mean over runs: the runs' own effect and the interaction
    groups: Reals  # of the mean over groups of videos: the groups' own effect and the interaction
    interaction: Reals  # what a run does on a group beyond both: counted in the two above
    run_df: float
    group_df: float

    @property
    def seed_part(self) -> Reals:
        """Shrinks with more runs; never below the interaction, which it contains."""
        return np.maximum(self.runs, self.interaction)

    @property
    def video_part(self) -> Reals:
        """Does not shrink with more runs: the groups' own effect, never below zero."""
        return np.maximum(self.groups - self.interaction, 0.0)

    @property
    def variance(self) -> Reals:
        """Of the mean difference, for new runs on new videos."""
        return self.seed_part + self.video_part

    @property
    def df(self) -> Reals:
        """Degrees of freedom of `variance` (Satterthwaite 1946), at least one."""
        crossed = self.video_part > 0
        return satterthwaite(
            self.variance,
            (self.seed_part, self.run_df),
            (np.where(crossed, self.groups, 0.0), self.group_df),
            (np.where(crossed, self.interaction, 0.0), self.run_df * self.group_df),
        )


def components(difference: np.ndarray, groups: np.ndarray) -> Components:
    """The parts of the variance of the mean: (..., runs, videos), (videos,) -> Components of (...).

    Raises:
        ValueError: with one run or one group of videos.
    """
    _, member = np.unique(groups, return_inverse=True)
    return components_of_sums(sums_by_group(difference, member), np.bincount(member))


def components_of_sums(sums: np.ndarray, sizes: np.ndarray) -> Components:
    """As `components`, from sums over groups: (..., runs, groups), (groups,) videos in each.

    Groups of unequal size are weighed as the jackknife that leaves out one group does (MacKinnon, Nielsen
    and Webb 2023), and count as their effective number (Kish 1965).
    """
    runs, count = sums.shape[-2:]
    videos = sizes.sum()
    if runs < 2 or count < 2:
        raise ValueError(f"{runs} run(s) on {count} group(s) of videos; both must be at least 2")
    run_means = sums.sum(axis=-1) / videos
    weights = np.sqrt((count - 1) / count) / (videos - sizes)
    beyond = (sums - run_means[..., None] * sizes) * weights  # (..., runs, groups)
    of_groups = beyond.mean(axis=-2)
    interaction = beyond - of_groups[..., None, :]
    return Components(
        runs=run_means.var(axis=-1, ddof=1) / runs,
        groups=(of_groups**2).sum(axis=-1),
        interaction=(interaction**2).sum(axis=(-2, -1)) / (runs * (runs - 1)),
        run_df=runs - 1,
        group_df=max(videos**2 / (sizes**2).sum() - 1, 1.0),
    )


def sums_by_group(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """(..., videos), (videos,) group numbers from 0 without gaps -> (..., groups), as float64."""
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(member.max() + 1))
    return np.add.reduceat(values[..., order], starts, axis=-1, dtype=np.float64)


def satterthwaite(variance: Reals, *parts: tuple[Reals, float]) -> Reals:
    """Degrees of freedom of a sum of mean squares: parts are (variance, df); at least one."""
    spread = sum(part**2 / df for part, df in parts)
    known = spread > 0
    return np.where(known, np.maximum(variance**2 / np.where(known, spread, 1.0), 1.0), np.inf)[()]


def t_interval(mean: Reals, variance: Reals, df: Reals, level: float) -> tuple[Reals, Reals]:
    """The (1 - level) interval of a mean whose estimated variance has `df` degrees of freedom."""
    half = stats.t.ppf(1 - level / 2, df) * np.sqrt(variance)
    return mean - half, mean + half


def t_p(mean: Reals, variance: Reals, df: Reals) -> Reals:
    """Two-sided p of a mean against 0; where nothing varies: 1 for a mean of 0, else 0."""
    known = np.asarray(variance) > 0
    error = np.sqrt(np.where(known, variance, 1.0))
    p = 2 * stats.t.sf(np.abs(mean) / error, df)
    return np.where(known, p, np.where(np.asarray(mean) == 0, 1.0, 0.0))[()]
