"""Many variants at a glance: their average ranks over blocks, and which cannot be told apart.

Friedman's (1937) test, and if it rejects, Nemenyi's (1963) critical difference, as Demsar (2006) recommends
for several data sets. Blocks are data sets or runs: what was drawn independently. Ranks say nothing of how
much better, and whether a pair is told apart hangs on the others in the table: a view, not the verdict.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.records.errors import UsageError


@dataclass(frozen=True)
class Ranking:
    """What average ranks show; variants are numbered as the columns of the scores."""

    ranks: tuple[float, ...]  # average over blocks; 1 is best
    blocks: int
    statistic: float  # Friedman's chi squared
    p: float
    critical_difference: float  # of average ranks
    groups: tuple[
        tuple[int, ...], ...
    ]  # each a largest set not told apart, best first; a variant may be in two


def rank_variants(scores: np.ndarray, alpha: float = 0.05) -> Ranking:
    """Ranks of (blocks, variants) scores, higher is better; ties share their average rank.

    Raises:
        UsageError: for fewer than 3 variants (compare them in pairs) or 2 blocks, or what is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] < 2 or scores.shape[1] < 3 or not np.isfinite(scores).all():
        raise UsageError(
            f"scores of shape {scores.shape}; at least 2 blocks x 3 variants, finite, are wanted"
        )
    each = stats.rankdata(-scores, axis=1)
    ranks = each.mean(axis=0)
    statistic, p = _friedman(each)
    difference = critical_difference(scores.shape[0], scores.shape[1], alpha)
    told_apart = difference if p <= alpha else float("inf")
    return Ranking(
        ranks=tuple(ranks.tolist()),
        blocks=len(scores),
        statistic=statistic,
        p=p,
        critical_difference=difference,
        groups=_groups(ranks, told_apart),
    )


def critical_difference(blocks: int, variants: int, alpha: float = 0.05) -> float:
    """How far two average ranks must lie apart for any pair to be told apart at `alpha` (Nemenyi 1963)."""
    quantile = stats.studentized_range.ppf(1 - alpha, variants, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(variants * (variants + 1) / (6 * blocks)))


def _friedman(ranks: np.ndarray) -> tuple[float, float]:
    """Chi squared with correction for ties, and its p, of (blocks, variants) ranks."""
    blocks, variants = ranks.shape
    spread = ((ranks - (variants + 1) / 2) ** 2).sum() / (variants - 1)  # of ranks within blocks
    if spread == 0:
        return 0.0, 1.0
    between = ((ranks.sum(axis=0) - blocks * (variants + 1) / 2) ** 2).sum()
    statistic = float(between / spread)
    return statistic, float(stats.chi2.sf(statistic, variants - 1))


def _groups(ranks: np.ndarray, difference: float) -> tuple[tuple[int, ...], ...]:
    """Largest runs of neighbours, in order of rank, whose ends lie less than `difference` apart."""
    order = np.argsort(ranks, kind="stable")
    ends = np.searchsorted(ranks[order], ranks[order] + difference)
    fresh = np.diff(ends, prepend=0) > 0  # a set that ends where the one before ends lies within it
    return tuple(tuple(order[start : ends[start]].tolist()) for start in np.flatnonzero(fresh))
