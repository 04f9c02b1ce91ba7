"""Figures over several data sets: against scipy and loops."""

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.aggregate import (
    expanded_level,
    interquartile_mean,
    interquartile_mean_interval,
    probability_of_improvement,
    probability_of_improvement_interval,
)
from timelift.records.errors import UsageError

RUNS = [(5, 5, 5), (7, 5, 9, 6), (12,)]


def scores(runs: tuple[int, ...], seed: int = 0, shift: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [0.4 + 0.1 * i + shift + 0.05 * rng.standard_normal(n) for i, n in enumerate(runs)]


@pytest.mark.parametrize("runs", [*RUNS, (1,), (3, 2), (6, 1)])
def test_the_interquartile_mean_is_scipys_trimmed_mean(runs):
    s = scores(runs)
    assert interquartile_mean(s) == pytest.approx(stats.trim_mean(np.concatenate(s), 0.25), abs=1e-12)


@pytest.mark.parametrize("runs", RUNS)
def test_the_probability_of_improvement_is_mann_and_whitneys(runs):
    a, b = scores(runs), [np.round(s, 2) for s in scores(runs, seed=1, shift=0.02)]
    a = [np.round(s, 2) for s in a]  # ties
    oracle = [stats.mannwhitneyu(y, x).statistic / (len(x) * len(y)) for x, y in zip(a, b, strict=True)]
    assert probability_of_improvement(a, b) == pytest.approx(np.mean(oracle), abs=1e-12)
    assert probability_of_improvement(a, b) + probability_of_improvement(b, a) == pytest.approx(1)
    assert probability_of_improvement(a, a) == pytest.approx(0.5)


def trimmed(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    shape = np.broadcast_shapes(*(s.shape[:-1] for s in samples))
    together = [np.broadcast_to(s, (*shape, s.shape[-1])) for s in samples]
    return stats.trim_mean(np.concatenate(together, axis=-1), 0.25, axis=-1)


@pytest.mark.parametrize("runs", RUNS)
def test_the_stratified_interval_is_scipys_bca_of_several_samples(runs):
    s = scores(runs)
    level = expanded_level(0.05, runs)
    oracle = stats.bootstrap(
        s, trimmed, n_resamples=499, confidence_level=1 - level, method="BCa", rng=np.random.default_rng(2)
    )
    found = interquartile_mean_interval(s, 0.05, np.random.default_rng(2), draws=499)
    np.testing.assert_allclose(found, oracle.confidence_interval, rtol=0, atol=1e-10)


@pytest.mark.parametrize("runs", RUNS)
def test_runs_of_a_pair_are_drawn_together(runs):
    a, b = scores(runs), scores(runs, seed=1, shift=0.02)

    def statistic(*picks: np.ndarray, axis: int = -1) -> np.ndarray:
        total = 0.0
        for x, y, pick in zip(a, b, picks, strict=True):
            drawn = pick.astype(int)
            total = total + (y[drawn][..., :, None] > x[drawn][..., None, :]).mean(axis=(-2, -1))
        return total / len(a)

    oracle = stats.bootstrap(
        [np.arange(n) for n in runs],
        statistic,
        n_resamples=499,
        confidence_level=1 - expanded_level(0.05, runs),
        method="BCa",
        rng=np.random.default_rng(2),
    )
    found = probability_of_improvement_interval(a, b, 0.05, np.random.default_rng(2), draws=499)
    np.testing.assert_allclose(found, oracle.confidence_interval, rtol=0, atol=1e-10)


def test_the_expanded_level_gives_the_t_interval():
    d = np.random.default_rng(0).standard_normal(6)
    z = stats.norm.isf(expanded_level(0.05, [6]) / 2)
    half = z * d.std(ddof=0) / np.sqrt(6)  # what resamples vary by
    assert half == pytest.approx(stats.t.isf(0.025, 5) * stats.sem(d))
    assert expanded_level(0.05, [10**6]) == pytest.approx(0.05, abs=1e-4)
    assert expanded_level(0.05, [5, 5, 5]) > expanded_level(0.05, [5])


def test_the_interval_holds_the_truth_about_as_often_as_promised():
    rng, held, studies = np.random.default_rng(0), 0, 300
    for _ in range(studies):
        s = [rng.normal(0.1 * i, 0.05, 5) for i in range(4)]
        lower, upper = interquartile_mean_interval(s, 0.05, rng, draws=299)
        held += lower <= 0.15 <= upper
    assert 0.9 <= held / studies <= 0.985


def test_one_outlier_moves_the_mean_but_hardly_the_interquartile_mean():
    s = scores((6, 6))
    spoilt = [s[0].copy(), s[1]]
    spoilt[0][0] = -50.0
    assert abs(interquartile_mean(spoilt) - interquartile_mean(s)) < 0.05


def test_too_few_runs_and_clear_cuts_give_no_interval():
    rng = np.random.default_rng(0)
    few, clear = scores((5, 4)), [s + 10 for s in scores((5, 5))]
    assert np.isnan(interquartile_mean_interval(few, 0.05, rng)).all()
    assert np.isnan(probability_of_improvement_interval(few, few, 0.05, rng)).all()
    assert probability_of_improvement(scores((5, 5)), clear) == 1
    assert np.isnan(probability_of_improvement_interval(scores((5, 5)), clear, 0.05, rng)).all()


@pytest.mark.parametrize("wrong", [[], [np.array([])], [np.array([0.1, np.nan])], [np.ones((2, 2))]])
def test_scores_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError, match="is wanted"):
        interquartile_mean(wrong)
    with pytest.raises(UsageError, match="is wanted"):
        probability_of_improvement(wrong, wrong)


def test_scores_that_do_not_pair_are_refused():
    with pytest.raises(UsageError, match=r"\[5, 5\] and \[5, 4\] runs"):
        probability_of_improvement(scores((5, 5)), scores((5, 4)))
