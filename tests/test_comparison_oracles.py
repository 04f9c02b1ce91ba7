"""Every statistic against scipy or a textbook loop, to 1e-10 on random inputs."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from timelift.comparison import compare_paired
from timelift.comparison.aggregate import interquartile_mean, probability_of_improvement
from timelift.comparison.bootstrap import bca_interval
from timelift.comparison.evidence import gather, paired_t_p
from timelift.comparison.family import holm, holm_adjusted
from timelift.comparison.looks import false_verdict_rate, nominal_levels, obrien_fleming_spent
from timelift.comparison.mcnemar import exact_mcnemar
from timelift.comparison.power import power_of, smallest_detectable
from timelift.comparison.ranks import critical_difference, rank_variants
from timelift.comparison.signflip import sign_flip, sign_flip_p
from timelift.comparison.sooner import compare_times
from timelift.comparison.timeto import Times
from timelift.comparison.twoway import components, satterthwaite, t_interval, t_p

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
SEEDS = range(6)


def accuracies(seed: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = 0.6 + 0.03 * rng.standard_normal(runs)
    return a, a + 0.01 * rng.standard_normal() + 0.02 * rng.standard_normal(runs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("runs", [3, 5, 9, 30])
def test_paired_t(seed, runs):
    a, b = accuracies(seed, runs)
    oracle = stats.ttest_rel(b, a)
    found = compare_paired(a, b, level=0.03)
    np.testing.assert_allclose(found.p_t, oracle.pvalue, **CLOSE)
    np.testing.assert_allclose(paired_t_p(gather(a, b, None, None, 0.05)), oracle.pvalue, **CLOSE)
    if runs < 10:
        np.testing.assert_allclose(found.interval_seeds, oracle.confidence_interval(0.97), **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_t_interval_and_p(seed):
    rng = np.random.default_rng(seed)
    mean, variance, df, level = rng.standard_normal(), rng.gamma(2.0), rng.uniform(1, 40), rng.uniform(0, 0.4)
    oracle = stats.t(df, loc=mean, scale=math.sqrt(variance))
    np.testing.assert_allclose(t_interval(mean, variance, df, level), oracle.interval(1 - level), **CLOSE)
    two_sided = 2 * min(oracle.cdf(0), oracle.sf(0))
    np.testing.assert_allclose(t_p(mean, variance, df), two_sided, **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("runs", [3, 6, 11])
def test_sign_flip(seed, runs):
    a, b = accuracies(seed, runs)
    oracle = stats.permutation_test((b - a,), np.mean, permutation_type="samples", n_resamples=np.inf)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(sign_flip(b - a, rng).p(), oracle.pvalue, **CLOSE)
    np.testing.assert_allclose(sign_flip_p((b - a)[None], rng), oracle.pvalue, **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_mcnemar(seed):
    a, b = np.random.default_rng(seed).integers(2, size=(2, 50)).astype(float)
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    np.testing.assert_allclose(
        exact_mcnemar(a, b), stats.binomtest(only_a, only_a + only_b, 0.5).pvalue, **CLOSE
    )


def loop_holm(p: list[float], alpha: float) -> tuple[list[float], list[bool]]:
    """Adjusted p and rejections: reject while the next smallest p is at most alpha / those left."""
    adjusted, rejected, largest, going = [0.0] * len(p), [False] * len(p), 0.0, True
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        left = len(p) - step
        largest = max(largest, left * p[i])
        adjusted[i] = min(1.0, largest)
        going = going and p[i] <= alpha / left
        rejected[i] = going
    return adjusted, rejected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_holm(seed, count):
    p = np.random.default_rng(seed).random((5, count)) ** 4
    for row, many in zip(p, holm_adjusted(p), strict=True):
        adjusted, rejected = loop_holm(row.tolist(), 0.05)
        np.testing.assert_allclose(many, adjusted, **CLOSE)
        steps = holm(row, 0.05)
        np.testing.assert_allclose([one.p_adjusted for one in steps], adjusted, **CLOSE)
        assert [bool(p_i <= one.level) for p_i, one in zip(row, steps, strict=True)] == rejected


@pytest.mark.parametrize("seed", SEEDS)
def test_bca(seed):
    a, b = accuracies(seed, 5 + 3 * seed)
    oracle = stats.bootstrap(
        (b - a,), np.mean, n_resamples=499, method="BCa", rng=np.random.default_rng(seed)
    )
    found = bca_interval(b - a, 0.05, np.random.default_rng(seed), draws=499)
    np.testing.assert_allclose(found, oracle.confidence_interval, **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_interquartile_mean_and_probability_of_improvement(seed):
    rng = np.random.default_rng(seed)
    a, b = ([rng.random(n) for n in (4, 7, 5 + seed)] for _ in range(2))
    np.testing.assert_allclose(interquartile_mean(a), stats.trim_mean(np.concatenate(a), 0.25), **CLOSE)
    shares = [stats.mannwhitneyu(y, x).statistic / (len(x) * len(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(probability_of_improvement(a, b), np.mean(shares), **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_friedman(seed):
    scores = np.round(np.random.default_rng(seed).random((4 + seed, 5)), 1)
    oracle, found = stats.friedmanchisquare(*scores.T), rank_variants(scores)
    np.testing.assert_allclose((found.statistic, found.p), oracle, **CLOSE)
    np.testing.assert_allclose(found.ranks, stats.rankdata(-scores, axis=1).mean(axis=0), **CLOSE)


@pytest.mark.parametrize("variants", [3, 5, 9])
def test_critical_difference(variants):
    """The range of independent standard normals, integrated: all the others lie within q above the lowest."""
    blocks, q = 12, critical_difference(12, variants) * math.sqrt(6 * 12 / (variants * (variants + 1)))
    np.testing.assert_allclose(
        critical_difference(blocks, variants, 0.1),
        stats.studentized_range.isf(0.1, variants, np.inf)
        / math.sqrt(2)
        * math.sqrt(variants * (variants + 1) / (6 * blocks)),
        **CLOSE,
    )

    def within(lowest: float) -> float:
        others = stats.norm.cdf(lowest + q * math.sqrt(2)) - stats.norm.cdf(lowest)
        return variants * stats.norm.pdf(lowest) * others ** (variants - 1)

    assert integrate.quad(within, -12, 12, epsabs=1e-13)[0] == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_satterthwaite_is_welchs_degrees_of_freedom(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(4 + seed), 3 * rng.standard_normal(9)
    parts = [(one.var(ddof=1) / len(one), len(one) - 1) for one in (x, y)]
    oracle = stats.ttest_ind(x, y, equal_var=False)
    np.testing.assert_allclose(satterthwaite(parts[0][0] + parts[1][0], *parts), oracle.df, **CLOSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_components_are_the_mean_squares_of_a_two_way_table(seed):
    """With groups of one size: analysis of variance without replication, each over its number of cells."""
    d = np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], size=(4, 7 * 3))
    cells = d.reshape(4, 7, 3).mean(axis=2)
    runs, groups = cells.shape
    by_run, by_group = cells.mean(axis=1, keepdims=True), cells.mean(axis=0, keepdims=True)
    rest = ((cells - by_run - by_group + cells.mean()) ** 2).sum() / ((runs - 1) * (groups - 1))
    found = components(d, np.repeat(np.arange(7), 3))
    expected = (groups * by_run.var(ddof=1), runs * by_group.var(ddof=1), rest)
    size = runs * groups
    np.testing.assert_allclose(
        (found.runs * size, found.groups * size, found.interaction * size), expected, **CLOSE
    )
    assert (found.run_df, found.group_df) == (3, 6)


@pytest.mark.parametrize("seed", SEEDS)
def test_sign_test_and_restricted_mean_of_times(seed):
    a, b = np.random.default_rng(seed).integers(1, 30, size=(2, 8)).astype(float)
    found = compare_times(Times(a, a > 0), Times(b, b > 0), 0.1)
    oracle = stats.ttest_rel(b, a)
    np.testing.assert_allclose(found.interval, oracle.confidence_interval(0.9), **CLOSE)
    first, unequal = int((b < a).sum()), int((a != b).sum())
    np.testing.assert_allclose(found.p_sign, stats.binomtest(first, unequal).pvalue, **CLOSE)


@pytest.mark.parametrize("df", [1, 2, 4.5, 9, 40])
@pytest.mark.parametrize("effect", [0.0, 0.7, 2.0, 4.0])
def test_power(df, effect):
    """The noncentral t's two tails, by adaptive quadrature over the estimated standard error."""
    bound = stats.t.isf(0.025, df)
    error = stats.chi(df, scale=1 / math.sqrt(df))

    def found(s: float) -> float:
        return error.pdf(s) * (stats.norm.sf(bound * s - effect) + stats.norm.cdf(-bound * s - effect))

    oracle = integrate.quad(found, 0, 12, epsabs=1e-13, limit=300, points=[0.5, 1, 2])[0]
    assert power_of(effect, df, 0.05) == pytest.approx(oracle, abs=2e-6)
    assert power_of(effect, df, 0.05) == pytest.approx(
        stats.nct.sf(bound, df, effect) + stats.nct.cdf(-bound, df, effect), abs=2e-6
    )


@pytest.mark.parametrize("df", [2, 4, 11.3, 60])
def test_the_smallest_detectable_difference_has_the_power_that_was_asked_for(df):
    effect = smallest_detectable(0.04, df, 0.02, 0.7) / 0.2
    assert power_of(effect, df, 0.02) == pytest.approx(0.7, abs=1e-8)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_looks_use_the_normals_quantiles(alpha):
    """Of the first look exactly; of two looks by scipy's bivariate normal."""
    half = 2 * stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(0.5))
    np.testing.assert_allclose(obrien_fleming_spent(alpha, 0.5), half, **CLOSE)
    first, second = nominal_levels([10, 20], 20, alpha)
    np.testing.assert_allclose(first, alpha * math.log(1 + (math.e - 1) / 2), **CLOSE)
    z = stats.norm.isf(np.array([first, second]) / 2)
    walk = stats.multivariate_normal(cov=[[1, math.sqrt(0.5)], [math.sqrt(0.5), 1]])
    stays = walk.cdf(z, lower_limit=-z)
    assert 1 - stays == pytest.approx(alpha, abs=1e-4)  # the grid of the recursive integration
    assert false_verdict_rate([first, second], [0.5, 1.0]) == pytest.approx(1 - stays, abs=1e-4)
