"""What `compare_paired` and `compare_family` decide, for many studies at once, by the same functions."""

import numpy as np

from timelift.comparison.evidence import sign_flip_may_decide
from timelift.comparison.signflip import sign_flip_p
from timelift.comparison.twoway import components_of_sums, t_p


def paired_t_p(difference: np.ndarray) -> np.ndarray:
    """P of the paired t test over runs: (..., runs) -> (...)."""
    runs = difference.shape[-1]
    return t_p(difference.mean(axis=-1), difference.var(axis=-1, ddof=1) / runs, runs - 1)


def seeds_p(difference: np.ndarray, strictest: float) -> np.ndarray:
    """P for "on exactly these videos": the sign-flip test's where it decides, else the paired t's.

    strictest: the smallest level at which a study of this kind is judged.
    """
    runs = difference.shape[-1]
    if not sign_flip_may_decide(runs, strictest):
        return paired_t_p(difference)
    rows = difference.reshape(-1, runs)
    return sign_flip_p(rows, np.random.default_rng(0)).reshape(difference.shape[:-1])


def verdict_p(sums: np.ndarray, sizes: np.ndarray, strictest: float, loosest: float) -> np.ndarray:
    """P of the verdict, "on new videos": sums of differences over groups, (..., runs, groups) -> (...).

    A p above `loosest` is left as the crossed effects have it: the seeds' can only be added to it.
    """
    parts, difference = components_of_sums(sums, sizes), sums.sum(axis=-1) / sizes.sum()
    p = np.asarray(t_p(difference.mean(axis=-1), parts.variance, parts.df))
    close = p <= loosest
    if close.any():
        p[close] = np.maximum(p[close], seeds_p(difference[close], strictest))
    return p
