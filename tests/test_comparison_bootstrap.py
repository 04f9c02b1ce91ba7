"""Bootstrap intervals of a mean: against scipy and a loop, and how often they hold the mean."""

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.bootstrap import bca_interval, bootstrap_t_interval

INTERVALS = [bca_interval, bootstrap_t_interval]


def differences(runs: int, seed: int = 0) -> np.ndarray:
    return 0.02 + 0.03 * np.random.default_rng(seed).gamma(2.0, size=runs)


@pytest.mark.parametrize(("runs", "level"), [(5, 0.05), (7, 0.2), (12, 0.01), (30, 0.05)])
def test_bca_is_scipys_on_the_same_resamples(runs, level):
    d = differences(runs, seed=runs)
    oracle = stats.bootstrap(
        (d,), np.mean, n_resamples=999, confidence_level=1 - level, method="BCa", rng=np.random.default_rng(3)
    )
    found = bca_interval(d, level, np.random.default_rng(3), draws=999)
    np.testing.assert_allclose(found, oracle.confidence_interval, rtol=0, atol=1e-10)


@pytest.mark.parametrize("runs", [6, 15])
def test_bootstrap_t_is_a_loop_over_studentised_resamples(runs):
    d, draws, level = differences(runs, seed=1), 199, 0.1
    rng, t = np.random.default_rng(5), []
    for pick in rng.integers(0, runs, (draws, runs)):
        t.append((d[pick].mean() - d.mean()) / d[pick].std(ddof=1))
    t.sort()
    error = d.std(ddof=1)
    low, high = t[10 - 1], t[draws - 10]  # (199 + 1) * 0.05 = 10 on either side
    found = bootstrap_t_interval(d, level, np.random.default_rng(5), draws)
    np.testing.assert_allclose(found, (d.mean() - high * error, d.mean() - low * error), atol=1e-12)


@pytest.mark.parametrize("interval", INTERVALS)
def test_an_interval_moves_stretches_and_turns_with_the_differences(interval):
    d = differences(9)
    base = np.array(interval(d, 0.05, np.random.default_rng(0)))
    moved = interval(10 * d - 3, 0.05, np.random.default_rng(0))
    np.testing.assert_allclose(moved, 10 * base - 3, rtol=1e-3)  # ties of resamples that rounding breaks
    turned = interval(-d, 0.05, np.random.default_rng(0))
    np.testing.assert_allclose(turned, -base[::-1], rtol=1e-2)
    assert base[0] < d.mean() < base[1]


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("d", [differences(4), np.full(8, 0.1)], ids=["4 runs", "no spread"])
def test_too_few_different_runs_give_no_interval(interval, d):
    assert np.isnan(interval(d, 0.05, np.random.default_rng(0))).all()
    assert np.isfinite(interval(differences(5), 0.05, np.random.default_rng(0))).all()


def test_a_level_that_needs_resamples_without_spread_leaves_the_interval_open():
    d = differences(5)
    assert np.isinf(bootstrap_t_interval(d, 1e-4, np.random.default_rng(0), draws=99_999)).any()
    with_the_mean = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # a resample of the middle run alone has t = 0
    assert np.isfinite(bootstrap_t_interval(with_the_mean, 0.05, np.random.default_rng(0))).all()


def test_runs_that_differ_by_rounding_alone_are_alike():
    """Resamples of them alone have no spread: an end that hangs on them is infinite, not merely huge."""
    one = 7 / 60 - 5 / 60
    d = np.array([one, 3 / 60 - 1 / 60, 10 / 60 - 8 / 60, -0.1, 0.2])
    assert 0 < np.ptp(d[:3]) < 1e-12
    found = np.abs(bootstrap_t_interval(d, 0.15, np.random.default_rng(0)))
    assert ((found < 10) | np.isinf(found)).all()
    exact = np.array([one, one, one, -0.1, 0.2])
    np.testing.assert_allclose(found, np.abs(bootstrap_t_interval(exact, 0.15, np.random.default_rng(0))))


def test_with_many_runs_both_are_the_t_interval():
    d = np.random.default_rng(0).standard_normal(400)
    oracle = stats.ttest_1samp(d, 0).confidence_interval(0.95)
    for interval in INTERVALS:
        np.testing.assert_allclose(interval(d, 0.05, np.random.default_rng(0)), oracle, atol=0.01)


def test_with_five_runs_bca_is_too_narrow_and_bootstrap_t_is_not():
    rng = np.random.default_rng(0)
    drawn, held = rng.standard_normal((500, 5)), {}
    for interval in INTERVALS:
        ends = np.array([interval(d, 0.05, rng, draws=499) for d in drawn])
        held[interval] = ((ends[:, 0] < 0) & (ends[:, 1] > 0)).mean()
    assert held[bca_interval] < 0.9
    assert held[bootstrap_t_interval] > 0.91
