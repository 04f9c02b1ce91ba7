"""How sure the mean difference is when both the seeds and the test videos could have been others.

Runs and groups of videos are crossed: every run answers every video. The variance of the grand mean is the
sum of what the runs contribute and what the groups contribute, less what both sums count (Cameron, Gelbach
and Miller 2011; in reader studies: Dorfman, Berbaum and Metz 1992, Hillis 2007).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

Interval = tuple[float, float]


@dataclass(frozen=True)
class Components:
    """Parts of the variance of a mean difference over runs and test videos (in squared fractions)."""

    runs: float  # of the mean over runs: the runs' own effect and the interaction
    groups: float  # of the mean over groups of videos: the groups' own effect and the interaction
    interaction: float  # what a run does on a group beyond both: counted in the two above
    run_df: float
    group_df: float

    @property
    def seed_part(self) -> float:
        """Shrinks with more runs; never below the interaction, which it contains."""
        return max(self.runs, self.interaction)

    @property
    def video_part(self) -> float:
        """Does not shrink with more runs: the groups' own effect, never below zero."""
        return max(self.groups - self.interaction, 0.0)

    @property
    def variance(self) -> float:
        """Of the mean difference, for new runs on new videos."""
        return self.seed_part + self.video_part

    @property
    def df(self) -> float:
        """Degrees of freedom of `variance` (Satterthwaite 1946), at least one."""
        return satterthwaite(
            self.variance,
            (self.seed_part, self.run_df),
            (self.groups if self.video_part else 0.0, self.group_df),
            (self.interaction if self.video_part else 0.0, self.run_df * self.group_df),
        )


def components(difference: np.ndarray, groups: np.ndarray) -> Components:
    """The parts of the variance of `difference.mean()`: (runs, videos), (videos,) -> Components.

    Groups of unequal size are weighed as the jackknife that leaves out one group does (MacKinnon, Nielsen
    and Webb 2023), and count as their effective number (Kish 1965).
    """
    runs = len(difference)
    _, member = np.unique(groups, return_inverse=True)
    sizes = np.bincount(member)
    count, videos = len(sizes), len(member)
    if runs < 2 or count < 2:
        raise ValueError(f"{runs} run(s) on {count} group(s) of videos; both must be at least 2")
    run_means = difference.mean(axis=1)
    weights = np.sqrt((count - 1) / count) / (videos - sizes)
    sums = _sums_by_group(difference - run_means[:, None], member) * weights  # (runs, groups)
    interaction = sums - sums.mean(axis=0)
    return Components(
        runs=float(run_means.var(ddof=1) / runs),
        groups=float((sums.mean(axis=0) ** 2).sum()),
        interaction=float((interaction**2).sum() / (runs * (runs - 1))),
        run_df=runs - 1,
        group_df=max(videos**2 / (sizes**2).sum() - 1, 1.0),
    )


def _sums_by_group(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """(runs, videos) -> (runs, groups)."""
    sums = np.zeros((len(values), member.max() + 1))
    np.add.at(sums.T, member, values.T)
    return sums


def satterthwaite(variance: float, *parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of mean squares: parts are (variance, df); at least one."""
    spread = sum(part**2 / df for part, df in parts)
    return max(variance**2 / spread, 1.0) if spread > 0 else float("inf")


def t_interval(mean: float, variance: float, df: float, level: float) -> Interval:
    """The (1 - level) interval of a mean whose estimated variance has `df` degrees of freedom."""
    half = float(stats.t.ppf(1 - level / 2, df) * np.sqrt(variance))
    return mean - half, mean + half


def t_p(mean: float, variance: float, df: float) -> float:
    """Two-sided p of a mean against 0; where nothing varies: 1 for a mean of 0, else 0."""
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / np.sqrt(variance), df))
