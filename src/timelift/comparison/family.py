"""Several variants against one baseline, judged together: Holm (1979), with intervals that say the same."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from timelift.comparison import evidence as ev
from timelift.comparison.evidence import Evidence
from timelift.comparison.paired import PairedDifference, check_levels, judge
from timelift.records.errors import UsageError


@dataclass(frozen=True)
class Step:
    """What Holm's procedure decided for one comparison."""

    p_adjusted: float
    level: float  # of its interval: it excludes 0 exactly when p_adjusted <= alpha


def compare_family(
    results: Mapping[str, ArrayLike],
    baseline: str,
    groups: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    margin: float = 0.02,
    rng: np.random.Generator | None = None,
) -> tuple[PairedDifference, ...]:
    """Every other variant against `baseline`, in the mapping's order; at most alpha of any false verdict.

    results: variant -> (runs,) accuracies or (runs, videos) of 0 and 1, as `compare_paired` takes them.

    Raises:
        UsageError: if the baseline is not among the results, or arrays do not pair.
    """
    if baseline not in results:
        raise UsageError(f"baseline {baseline!r} is not among the results: {', '.join(results)}")
    scores = {name: ev.as_scores(values, name) for name, values in results.items()}
    pairs = {name: (scores[baseline], values) for name, values in scores.items() if name != baseline}
    return compare_pairs(pairs, baseline, groups, alpha=alpha, margin=margin, rng=rng)


def compare_pairs(
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    baseline: str,
    groups: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    margin: float = 0.02,
    rng: np.random.Generator | None = None,
    undecided: Collection[str] = (),
) -> tuple[PairedDifference, ...]:
    """As `compare_family`, each variant with the baseline's runs that pair with its own.

    undecided: variants that stay in the family, so that the others are judged no less strictly, with p = 1.
    """
    check_levels(alpha, margin)
    rng = rng or np.random.default_rng(0)
    strictest = alpha / max(len(pairs), 1)
    found = [ev.gather(a, b, groups, rng, strictest) for a, b in pairs.values()]
    p = [1.0 if name in undecided else ev.both_p(one) for name, one in zip(pairs, found, strict=True)]
    steps = holm(np.array(p), alpha)
    return tuple(
        _judge(one, (baseline, name), step, alpha, margin)
        for name, one, step in zip(pairs, found, steps, strict=True)
    )


def _judge(
    found: Evidence, names: tuple[str, str], step: Step, alpha: float, margin: float
) -> PairedDifference:
    return judge(found, names, alpha=alpha, margin=margin, level=step.level, p_adjusted=step.p_adjusted)


def holm(p: np.ndarray, alpha: float) -> list[Step]:
    """Holm's adjusted p, and the level of each interval: (comparisons,) -> steps in the same order.

    The level is Bonferroni's alpha / m, with which all intervals hold together. Where Holm rejects at a later
    step what Bonferroni would not, it is that step's level, so that the interval shows what was decided.
    """
    count, adjusted = len(p), holm_adjusted(p)
    strictest = alpha / max(count, 1)
    rank = np.argsort(np.argsort(p, kind="stable"), kind="stable")
    late = (adjusted <= alpha) & (p > strictest)
    return [
        Step(float(adjusted[i]), alpha / (count - int(rank[i])) if late[i] else strictest)
        for i in range(count)
    ]


def holm_adjusted(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p of families along the last axis: (..., comparisons) -> the same shape."""
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.arange(p.shape[-1], 0, -1) * np.take_along_axis(p, order, axis=-1)
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, np.maximum.accumulate(np.minimum(steps, 1.0), axis=-1), axis=-1)
    return adjusted
