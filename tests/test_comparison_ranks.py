"""Average ranks and who is told apart: against scipy, published tables and loops."""

import itertools

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.ranks import critical_difference, rank_variants
from timelift.records.errors import UsageError


def scores(blocks: int, variants: int, seed: int, gain: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((blocks, variants)) + gain * np.arange(variants)


@pytest.mark.parametrize("shape", [(5, 3), (10, 4), (30, 7), (2, 3)])
@pytest.mark.parametrize("digits", [9, 0], ids=["no ties", "ties"])
def test_the_test_is_scipys_friedman(shape, digits):
    s = np.round(scores(*shape, seed=sum(shape), gain=0.3), digits)
    oracle = stats.friedmanchisquare(*s.T)
    found = rank_variants(s)
    assert found.statistic == pytest.approx(oracle.statistic, abs=1e-10)
    assert found.p == pytest.approx(oracle.pvalue, abs=1e-10)
    assert found.blocks == shape[0]


def test_average_ranks_count_from_the_best():
    found = rank_variants(np.array([[0.1, 0.9, 0.5], [0.2, 0.8, 0.8], [0.3, 0.6, 0.9]]))
    assert found.ranks == pytest.approx((3, 1.5, 1.5))


@pytest.mark.parametrize(  # Demsar (2006), table 5 (a): q at 5 % for 2 to 10 variants
    ("variants", "q"),
    list(enumerate((1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164), start=2)),
)
def test_critical_differences_are_demsars(variants, q):
    expected = q * np.sqrt(variants * (variants + 1) / (6 * 14))
    assert critical_difference(14, variants) == pytest.approx(expected, abs=2e-3)


def loop_groups(ranks: np.ndarray, difference: float) -> set[tuple[int, ...]]:
    """All sets within the critical difference that no other such set contains."""
    everyone = range(len(ranks))
    within = [
        set(some)
        for size in range(1, len(ranks) + 1)
        for some in itertools.combinations(everyone, size)
        if max(ranks[list(some)]) - min(ranks[list(some)]) < difference
    ]
    largest = [one for one in within if not any(one < other for other in within)]
    return {tuple(sorted(one)) for one in largest}


@pytest.mark.parametrize("seed", range(12))
def test_groups_are_the_largest_sets_within_the_critical_difference(seed):
    s = np.round(scores(12, 6, seed, gain=0.2 * (seed % 5)), seed % 3)
    found = rank_variants(s)
    expected = loop_groups(np.array(found.ranks), found.critical_difference)
    if found.p > 0.05:
        expected = {tuple(range(6))}
    assert {tuple(sorted(group)) for group in found.groups} == expected
    best = [min(found.ranks[i] for i in group) for group in found.groups]
    assert best == sorted(best)


def test_variants_in_a_clear_order_are_each_alone_and_equal_ones_together():
    order = np.tile([3.0, 1.0, 2.0], (40, 1))
    assert rank_variants(order).groups == ((0,), (2,), (1,))
    same = rank_variants(np.ones((8, 4)))
    assert (same.p, same.groups) == (1.0, ((0, 1, 2, 3),))


def test_nobody_is_told_apart_unless_friedmans_test_rejects():
    s = np.random.default_rng(20).standard_normal((12, 6)) + 0.75 * np.array([1, 0, 0, 0, 0, -1])
    found = rank_variants(s)
    assert max(found.ranks) - min(found.ranks) > found.critical_difference
    assert found.p > 0.05
    assert len(found.groups) == 1


def test_equal_variants_are_told_apart_as_rarely_as_promised():
    told = [len(rank_variants(scores(10, 4, seed)).groups) > 1 for seed in range(150)]
    assert np.mean(told) <= 0.09  # 5 % and two standard errors


@pytest.mark.parametrize("wrong", [np.ones((5, 2)), np.ones((1, 4)), np.ones(4), np.full((5, 3), np.nan)])
def test_too_few_variants_or_blocks_are_refused(wrong):
    with pytest.raises(UsageError, match="at least 2 blocks x 3 variants"):
        rank_variants(wrong)
