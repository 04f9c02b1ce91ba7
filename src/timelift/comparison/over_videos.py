"""Two trained networks on the same videos: how sure their difference is for new videos like these.

Nothing is said about training again: that takes several runs of each (`compare_paired`).
"""

import numpy as np

from timelift.comparison.evidence import UNBOUNDED, as_groups
from timelift.comparison.twoway import Interval, sums_by_group, t_interval


def interval_over_videos(difference: np.ndarray, groups: object, level: float = 0.05) -> Interval:
    """The (1 - level) interval of the mean of (videos,) differences, videos clustered by group.

    By the jackknife that leaves out one group (MacKinnon, Nielsen and Webb 2023), with as many degrees of
    freedom as the groups' effective number (Kish 1965) less one. Unbounded with one group.
    """
    member = as_groups(groups, len(difference))
    sizes = np.bincount(member)
    videos, count = len(difference), len(sizes)
    if count < 2:
        return UNBOUNDED
    mean = float(difference.mean())
    moved = (sums_by_group(difference, member) - mean * sizes) / (videos - sizes)  # a group left out
    variance = (count - 1) / count * float((moved**2).sum())
    df = max(videos**2 / float((sizes**2).sum()) - 1, 1.0)
    lower, upper = t_interval(mean, variance, df, level)
    return float(lower), float(upper)


def group_count(groups: object, videos: int) -> int:
    """How many groups; a video without one is its own."""
    return len(np.unique(as_groups(groups, videos)))
