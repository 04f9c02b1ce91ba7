"""A family of comparisons: Holm's p, and intervals that say the same."""

import numpy as np
import pytest

from timelift.comparison import compare_family, compare_paired
from timelift.comparison.family import holm
from timelift.comparison.simulate import World, equal_variants, group_numbers
from timelift.records.errors import UsageError


def loop_holm(p: list[float]) -> list[float]:
    """Holm's adjusted p, straight from the definition."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    return [max(min(1, (len(p) - k) * p[order[k]]) for k in range(order.index(i) + 1)) for i in range(len(p))]


def test_adjusted_p_is_holms():
    rng = np.random.default_rng(0)
    for count in (1, 2, 5, 9):
        p = rng.random(count) ** 3
        assert [step.p_adjusted for step in holm(p, 0.05)] == pytest.approx(loop_holm(p.tolist()))


def test_levels_are_bonferronis_but_where_holm_decides_more():
    steps = holm(np.array([0.012, 0.9, 0.001, 0.02]), 0.05)
    assert [step.level for step in steps] == pytest.approx([0.0125, 0.0125, 0.0125, 0.025])
    assert [step.p_adjusted <= 0.05 for step in steps] == [True, False, True, True]
    assert steps == holm(np.array([0.012, 0.9, 0.001, 0.02]), 0.05)


def results(seed: int, runs: int = 5) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    world = World(runs=runs, sizes=(4,) * 20)
    found = {}
    for name in ("first", "second", "third", "fourth"):
        a, b = equal_variants(world, rng)
        found |= {name: a, f"{name} helped": np.maximum(b, rng.random(b.shape) < 0.4)}
    return dict(list(found.items())[: 3 + seed % 5]), group_numbers(world)


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_text_interval_and_adjusted_p_never_disagree(runs):
    verdicts, late = set(), 0
    for seed in range(40):
        scores, groups = results(seed, runs)
        family = compare_family(scores, "first", groups, alpha=0.05, margin=0.15)
        for one in family:
            lower, upper = one.interval
            assert (one.verdict == "better") == (lower > 0)
            assert (one.verdict == "worse") == (upper < 0)
            assert (one.p_adjusted <= 0.05) == (lower > 0 or upper < 0)
            assert 0.05 / len(family) <= one.level <= 0.05
            verdicts.add(one.verdict)
            late += one.level > 0.05 / len(family)
    assert {"better", "inconclusive"} <= verdicts
    assert late > 0 or runs == 3  # the case that plain Bonferroni intervals would get wrong did occur


def test_a_family_of_one_is_a_paired_comparison():
    scores, groups = results(0)
    two = {name: scores[name] for name in ("first", "second")}
    (family,) = compare_family(two, "first", groups)
    assert family == compare_paired(two["first"], two["second"], groups, names=("first", "second"))


def test_more_comparisons_never_make_a_verdict_surer():
    scores, groups = results(4)
    wide = {one.variant: one for one in compare_family(scores, "first", groups)}
    for name in ("second", "first helped"):
        (alone,) = compare_family({"first": scores["first"], name: scores[name]}, "first", groups)
        assert wide[name].p_adjusted >= alone.p_adjusted
        assert wide[name].interval[0] <= alone.interval[0]


def test_a_family_of_equals_gets_any_false_verdict_as_rarely_as_promised():
    world, wrong = World(sizes=(5,) * 30), 0
    groups = group_numbers(world)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        draws = [
            one for _ in range(3) for one in equal_variants(World(sizes=world.sizes, group=0, video=0), rng)
        ]
        family = compare_family({str(i): one for i, one in enumerate(draws)}, "0", groups)
        wrong += any(one.verdict in ("better", "worse") for one in family)
    assert wrong / 150 <= 0.09  # 5 % and two standard errors


def test_an_unknown_baseline_and_unpaired_runs_are_refused():
    scores, groups = results(0)
    with pytest.raises(UsageError, match="baseline 'none' is not among"):
        compare_family(scores, "none", groups)
    with pytest.raises(UsageError, match="same runs on the same videos"):
        compare_family({**scores, "short": scores["first"][:3]}, "first", groups)
