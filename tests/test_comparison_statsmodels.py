"""Statistics against statsmodels, which has them on its own: to 1e-10 on random inputs."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from timelift.comparison import compare_family, compare_paired
from timelift.comparison.family import holm, holm_adjusted
from timelift.comparison.mcnemar import exact_mcnemar
from timelift.comparison.power import power_of, smallest_detectable

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_holm(seed, count):
    p = np.random.default_rng(seed).random(count) ** 4
    rejected, adjusted, *_ = multipletests(p, alpha=0.05, method="holm")
    np.testing.assert_allclose(holm_adjusted(p), adjusted, **CLOSE)
    steps = holm(p, 0.05)
    assert [bool(one <= step.level) for one, step in zip(p, steps, strict=True)] == rejected.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_family_is_holm_of_its_paired_t(seed):
    rng = np.random.default_rng(seed)
    base = 0.6 + 0.03 * rng.standard_normal(6)
    results = {"base": base} | {
        name: base + shift + 0.02 * rng.standard_normal(6)
        for name, shift in (("a", 0.05), ("b", 0.02), ("c", 0.0))
    }
    found = compare_family(results, "base")
    p = [stats.ttest_rel(results[one.variant], base).pvalue for one in found]
    rejected, adjusted, *_ = multipletests(p, alpha=0.05, method="holm")
    np.testing.assert_allclose([one.p_adjusted for one in found], adjusted, **CLOSE)
    assert [one.verdict in ("better", "worse") for one in found] == rejected.tolist()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [0.05, 0.02])
def test_equivalent_is_what_two_one_sided_tests_say(seed, level):
    """The (1 - level) interval lies inside the margin where both reject at level / 2."""
    rng = np.random.default_rng(seed)
    equivalent = []
    for spread in (0.002, 0.01, 0.03):
        base = 0.6 + 0.03 * rng.standard_normal(7)
        other = base + 0.005 * rng.standard_normal() + spread * rng.standard_normal(7)
        p, *_ = ttost_paired(other, base, -0.02, 0.02)
        found = compare_paired(base, other, alpha=level, margin=0.02)
        assert found.equivalent == (p < level / 2)
        at_the_edge = compare_paired(base, other, margin=0.02, level=2 * p) if p < 0.2 else None
        if at_the_edge is not None:
            inside = min(0.02 - at_the_edge.interval[1], at_the_edge.interval[0] + 0.02)
            np.testing.assert_allclose(inside, 0.0, atol=1e-10)
        equivalent.append(found.equivalent)
    assert equivalent[0]
    assert not equivalent[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_mcnemar(seed):
    a, b = np.random.default_rng(seed).integers(2, size=(2, 60)).astype(float)
    counts = [[int(((a == i) & (b == j)).sum()) for j in (1, 0)] for i in (1, 0)]
    np.testing.assert_allclose(exact_mcnemar(a, b), mcnemar(counts, exact=True).pvalue, **CLOSE)


@pytest.mark.parametrize("runs", [3, 5, 10, 30])
@pytest.mark.parametrize("effect", [0.3, 1.0, 1.4])
def test_power(runs, effect):
    """To 1e-6: ours is a quadrature of 200 nodes, theirs a noncentral t."""
    oracle = TTestPower().power(effect, runs, 0.05)
    assert power_of(effect * np.sqrt(runs), runs - 1, 0.05) == pytest.approx(oracle, abs=1e-6)
    detected = smallest_detectable(1 / runs, runs - 1, 0.05, 0.8)
    assert TTestPower().power(detected, runs, 0.05) == pytest.approx(0.8, abs=1e-6)
