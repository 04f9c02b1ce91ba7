"""Paired differences: against scipy, against loops, and how often they err."""

import numpy as np
import pytest
from scipy import stats

from timelift.comparison import compare_paired
from timelift.comparison.calibrate.rivals import by_both, false_verdicts
from timelift.comparison.evidence import as_groups
from timelift.comparison.mcnemar import exact_mcnemar
from timelift.comparison.power import runs_to_settle, smallest_detectable, with_runs
from timelift.comparison.signflip import floor, sign_flip
from timelift.comparison.simulate import World, equal_variants, group_numbers
from timelift.comparison.twoway import components
from timelift.records.errors import UsageError


def accuracies(runs: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = 0.6 + 0.03 * rng.standard_normal(runs)
    return a, a + shift + 0.02 * rng.standard_normal(runs)


def correctness(world: World, seed: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a, b = equal_variants(world, rng)
    return a, np.maximum(b, rng.random(b.shape) < gain), group_numbers(world)


SMALL = World(sizes=(3, 5, 4, 1, 2, 6, 3, 3, 4, 2, 5, 4))


@pytest.mark.parametrize("runs", [3, 5, 9])
def test_over_seeds_the_p_and_interval_are_scipys_paired_t(runs):
    a, b = accuracies(runs, 0.02, seed=runs)
    oracle = stats.ttest_rel(b, a)
    result = compare_paired(a, b)
    assert result.p_seeds == pytest.approx(oracle.pvalue)
    assert result.p_t == pytest.approx(oracle.pvalue)
    np.testing.assert_allclose(result.interval_seeds, oracle.confidence_interval(0.95))
    np.testing.assert_allclose(
        compare_paired(a, b, level=0.01).interval_seeds, oracle.confidence_interval(0.99)
    )
    assert result.interval == result.interval_seeds
    assert result.mean == pytest.approx((b - a).mean())


@pytest.mark.parametrize(("runs", "shift"), [(3, 0.0), (5, 0.05), (8, 0.01), (11, -0.01)])
def test_the_sign_flip_p_is_scipys_exact_permutation_test(runs, shift):
    a, b = accuracies(runs, shift, seed=runs)
    oracle = stats.permutation_test(
        (b - a,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert compare_paired(a, b).p_sign_flip == pytest.approx(oracle.pvalue)


def test_tied_differences_do_not_break_the_sign_flip_test():
    difference = np.array([0.1, 0.2, -0.3, 0.4, 0.1])
    assert difference[:3].sum() > 0  # only by rounding
    oracle = stats.permutation_test((np.array([1.0, 2, -3, 4, 1]),), np.sum, permutation_type="samples")
    assert sign_flip(difference, np.random.default_rng(0)).p() == pytest.approx(oracle.pvalue)


def test_the_sign_flip_interval_holds_the_means_that_the_test_does_not_reject():
    difference = np.diff(accuracies(10, 0.01, seed=3), axis=0)[0]
    lower, upper = sign_flip(difference, np.random.default_rng(0)).interval(0.05)
    edges = [edge + tiny for edge in (lower, upper) for tiny in (-1e-9, 1e-9)]
    for mean in [*edges, *np.linspace(-0.03, 0.05, 81)]:
        p = sign_flip(difference - mean, np.random.default_rng(0)).p()
        assert (p > 0.05) == (lower <= mean <= upper)


def test_drawn_sign_flips_agree_with_all_of_them(monkeypatch):
    difference = np.diff(accuracies(14, 0.008, seed=1), axis=0)[0]
    exact = sign_flip(difference, np.random.default_rng(0))
    monkeypatch.setattr("timelift.comparison.signflip.EXACT_RUNS", 5)
    drawn = sign_flip(difference, np.random.default_rng(0))
    assert drawn.p() == pytest.approx(exact.p(), abs=0.005)
    np.testing.assert_allclose(drawn.interval(0.05), exact.interval(0.05), atol=1e-3)


def test_the_sign_flip_test_decides_from_ten_runs_and_only_where_its_floor_allows():
    nine, ten = (compare_paired(*accuracies(runs, 0.05, seed=2)) for runs in (9, 10))
    assert (nine.p_seeds, ten.p_seeds) == (nine.p_t, ten.p_sign_flip)
    assert ten.p_sign_flip_floor == floor(10) == 2 / 1024 == ten.p_sign_flip
    strict = compare_paired(*accuracies(10, 0.05, seed=2), level=0.001)
    assert strict.p_seeds == strict.p_t
    assert np.isfinite(strict.interval).all()


def test_components_are_those_of_a_loop_that_leaves_groups_out():
    a, b, groups = correctness(SMALL, seed=0)
    d = b - a
    runs = len(d)
    names = np.unique(groups)
    kept = [groups != g for g in names]
    jackknife = sum((d[:, keep].mean() - d.mean()) ** 2 for keep in kept) * (len(names) - 1) / len(names)
    between = 0.0
    for keep in kept:
        change = d[:, keep].mean(axis=1) - d.mean(axis=1)
        between += ((change - change.mean()) ** 2).sum() * (len(names) - 1) / len(names)
    parts = components(d, groups)
    assert parts.runs == pytest.approx(stats.sem(d.mean(axis=1)) ** 2)
    assert parts.groups == pytest.approx(jackknife)
    assert parts.interaction == pytest.approx(between / (runs * (runs - 1)))


def test_components_estimate_the_variance_over_new_seeds_and_new_videos():
    world = World(runs=4, sizes=(4,) * 20)
    found = [correctness(world, seed) for seed in range(600)]
    means = [(b - a).mean() for a, b, _ in found]
    parts = [components(b - a, groups) for a, b, groups in found]
    unfloored = np.mean([p.runs + p.groups - p.interaction for p in parts])
    assert unfloored == pytest.approx(np.var(means), rel=0.2)


@pytest.mark.parametrize(("world", "naive"), [(World(), 0.15), (World(runs=10), 0.15)])
def test_two_equal_variants_are_called_different_as_rarely_as_promised(world, naive):
    rates = false_verdicts(world, studies=600, rng=np.random.default_rng(1))
    assert rates["seeds + groups"] <= 0.06
    assert rates["video bootstrap"] > naive
    assert rates["seeds"] > rates["seeds + groups"]


def test_the_verdict_is_by_the_method_that_was_simulated():
    a, b, groups = correctness(SMALL, seed=4)
    assert compare_paired(a, b, groups).p == pytest.approx(by_both(b - a, groups))


def test_intervals_miss_a_true_difference_as_rarely_as_promised():
    world, gain, missed = World(sizes=(4,) * 30, variant_group=0.5), 0.2, 0
    draws = [correctness(world, seed, gain) for seed in range(300)]
    truth = np.mean([(b - a).mean() for a, b, _ in draws])
    for a, b, groups in draws:
        lower, upper = compare_paired(a, b, groups).interval
        missed += not lower <= truth <= upper
    assert missed / 300 <= 0.08  # 5 % and two and a half standard errors


def test_on_new_videos_nothing_is_surer_than_on_these():
    for seed in range(60):
        runs = (3, 5, 10)[seed % 3]
        a, b, groups = correctness(World(runs=runs, sizes=SMALL.sizes), seed, gain=0.1)
        result = compare_paired(a, b, groups)
        assert result.interval[0] <= result.interval_seeds[0]
        assert result.interval[1] >= result.interval_seeds[1]
        assert result.p >= result.p_seeds


@pytest.mark.parametrize("runs", [3, 4, 10, 12])
def test_verdict_interval_and_p_never_disagree(runs):
    seen = set()
    for seed in range(60):
        world = World(runs=runs, sizes=(4,) * 15)
        a, b, groups = correctness(world, seed, gain=0.8 * (seed % 4) / 3)
        if seed % 2:
            a, b = b, a
        result = compare_paired(a, b, groups if seed % 5 else None, alpha=(0.05, 0.01)[seed % 2], margin=0.2)
        lower, upper = result.interval
        assert (result.verdict == "better") == (lower > 0)
        assert (result.verdict == "worse") == (upper < 0)
        assert (result.p <= result.level) == (lower > 0 or upper < 0)
        inside = max(map(abs, result.interval)) < 0.2
        assert result.equivalent == inside
        if result.verdict in ("equivalent", "inconclusive"):
            assert (result.verdict == "equivalent") == inside
        assert result.verdict in result.sentence or result.verdict == "inconclusive"
        seen.add(result.verdict)
    assert {"better", "worse", "inconclusive"} <= seen


def test_equivalence_is_read_off_the_interval():
    a, b, groups = correctness(SMALL, seed=5)
    widest = max(map(abs, compare_paired(a, b, groups).interval))
    assert compare_paired(a, b, groups, margin=widest + 1e-6).equivalent
    assert not compare_paired(a, b, groups, margin=widest - 1e-6).equivalent


def test_turning_the_pair_round_turns_the_answer_round():
    a, b, groups = correctness(SMALL, seed=7, gain=0.8)
    there, back = compare_paired(a, b, groups), compare_paired(b, a, groups)
    assert there.mean == -back.mean
    np.testing.assert_allclose(there.interval, tuple(-x for x in reversed(back.interval)))
    assert (there.p, there.verdict, back.verdict) == (pytest.approx(back.p), "better", "worse")


def test_orders_of_videos_and_names_of_groups_do_not_matter():
    a, b, groups = correctness(SMALL, seed=8)
    order = np.random.default_rng(0).permutation(a.shape[1])
    named = np.array([f"group {99 - g}" for g in groups])[order]
    one, other = compare_paired(a, b, groups), compare_paired(a[:, order], b[:, order], named)
    np.testing.assert_allclose(one.interval, other.interval)
    assert one.groups == other.groups == len(SMALL.sizes)


def test_a_video_without_a_group_is_its_own():
    assert as_groups(["x", "", "x", ""], 4).tolist() == [0, 1, 0, 2]
    a, b, _ = correctness(SMALL, seed=9)
    bare = compare_paired(a, b)
    assert bare.interval == compare_paired(a, b, [""] * a.shape[1]).interval
    assert any("No groups" in note for note in bare.notes)


@pytest.mark.parametrize("runs", [1, 2])
def test_fewer_than_three_pairs_are_too_few(runs):
    a, b, groups = correctness(World(runs=runs, sizes=SMALL.sizes), seed=0, gain=0.9)
    for result in (compare_paired(a, b, groups), compare_paired(a.mean(1), b.mean(1))):
        assert result.verdict == "too few runs"
        assert result.interval == result.interval_seeds == (float("-inf"), float("inf"))
        assert result.p == 1
        assert not result.equivalent
        assert "Too few runs" in result.sentence
    assert (compare_paired(a, b, groups).p_mcnemar is not None) == (runs == 1)


def test_mcnemar_is_the_binomial_test_of_the_videos_that_one_alone_has_right():
    a, b = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0.0]), np.array([1, 0, 1, 1, 1, 1, 1, 1, 0.0])
    assert exact_mcnemar(a, b) == pytest.approx(stats.binom.cdf(1, 6, 0.5) * 2)
    assert exact_mcnemar(a, a) == 1


def test_videos_of_one_group_say_nothing_about_new_videos():
    a, b, _ = correctness(SMALL, seed=1, gain=0.9)
    result = compare_paired(a, b, ["all"] * a.shape[1])
    assert result.interval_seeds[0] > 0
    assert result.interval == (float("-inf"), float("inf"))
    assert result.verdict == "inconclusive"
    assert "one group" in result.notes[0]


def test_accuracies_alone_that_never_vary_give_no_verdict():
    result = compare_paired([0.5, 0.6, 0.7], [0.6, 0.7, 0.8])
    assert result.verdict == "inconclusive"
    assert any("cannot be judged" in note for note in result.notes)


@pytest.mark.parametrize(
    ("groups", "verdict"), [(12, "inconclusive"), (148, "inconclusive"), (149, "equivalent")]
)
def test_the_same_answers_in_every_run_are_equivalent_if_the_videos_are_many(groups, verdict):
    """Few videos that all agree do not say that no others would differ."""
    a = np.random.default_rng(1).integers(0, 2, (5, 2 * groups))
    result = compare_paired(a, a, np.repeat(np.arange(groups), 2))
    assert (result.verdict, result.interval_seeds, result.p) == (verdict, (0, 0), 1)
    often = result.interval[1]  # so often a group would differ at most: else it would have been seen
    assert result.interval == (-often, often)
    assert stats.binom.pmf(0, groups, often) == pytest.approx(0.05)
    assert any(f"what {groups} groups of videos leave open" in note for note in result.notes)
    assert result.runs_to_settle is None  # more runs are no more videos
    assert "more run" not in result.sentence
    assert result.smallest_detectable == float("inf")
    assert np.isnan(result.effect_size)


def test_runs_that_agree_by_luck_do_not_make_a_difference_sure():
    a = np.zeros((5, 40))
    b = np.zeros((5, 40))
    b[0, :4], b[1, 4:8], b[2, 8:12], b[3, 12:16], b[4, 16:20] = 1, 1, 1, 1, 1  # each run 4 other videos
    result = compare_paired(a, b)
    parts = components(b - a, np.arange(40))
    assert parts.runs == 0
    assert parts.seed_part == parts.interaction > 0
    assert result.p > 0


def test_effect_size_is_cohens_d_with_hedges_correction():
    a, b = accuracies(6, 0.02, seed=0)
    d = b - a
    expected = d.mean() / d.std(ddof=1) * (1 - 3 / (4 * 5 - 1))
    assert compare_paired(a, b).effect_size == pytest.approx(expected)


def test_the_smallest_detectable_difference_is_found_four_times_in_five():
    rng = np.random.default_rng(0)
    for runs, level in ((3, 0.05), (8, 0.05), (5, 0.05 / 3)):
        delta = smallest_detectable(0.03**2 / runs, runs - 1, level)
        draws = delta + 0.03 * rng.standard_normal((4000, runs))
        found = (stats.ttest_1samp(draws, 0, axis=1).pvalue < level).mean()
        assert found == pytest.approx(0.8, abs=0.02)


def test_more_runs_settle_what_seeds_blur_but_not_what_videos_blur():
    a, b, groups = correctness(World(run=0.6, variant_group=0.0, variant_video=0.0), seed=3)
    parts = components(b - a, groups)
    assert with_runs(parts, 5).variance == pytest.approx(parts.variance)
    needed = runs_to_settle(0.05, parts, 0.05, 0.02, 100)
    assert needed is not None
    assert needed > 5
    assert with_runs(parts, needed).variance < parts.variance
    few_groups = components(*_on_groups())
    assert with_runs(few_groups, 10**6).variance == pytest.approx(few_groups.video_part, rel=1e-3)
    assert runs_to_settle(0.02, few_groups, 0.05, 0.02, 100) is None


def _on_groups() -> tuple[np.ndarray, np.ndarray]:
    """Every run alike, groups very different: more runs change nothing."""
    a, b, groups = correctness(World(sizes=(10,) * 6, variant_group=3.0, run=0.0), seed=0)
    return b - a, groups


def test_an_inconclusive_sentence_says_what_is_not_shown_and_what_might_help():
    a, b, groups = correctness(World(sizes=(10,) * 6, variant_group=2.0), seed=1)
    result = compare_paired(a, b, groups, names=("framewise", "inflated"))
    assert result.verdict == "inconclusive"
    for words in (
        "inflated cannot be told from framewise",
        "60 videos in 6 groups",
        "Neither",
        "unseen",
        "more",
    ):
        assert words in result.sentence


@pytest.mark.parametrize(
    ("a", "b", "groups", "words"),
    [
        ([0.5, 0.6, 0.7], [0.5, 0.6], None, "shapes (3,) and (2,)"),
        ([50, 60, 70], [50, 61, 70], None, "not percent"),
        ([0.5, 0.6, np.nan], [0.5, 0.6, 0.7], None, "outside 0..1"),
        ([[0.5, 1]], [[1, 1]], None, "1 where right"),
        ([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], ["x"], "groups are of videos"),
        ([[1, 0]], [[1, 1]], ["x"], "1 groups for 2 videos"),
        ([], [], None, "shape (0,)"),
    ],
)
def test_wrong_input_is_refused_in_words(a, b, groups, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace(")", r"\)")):
        compare_paired(a, b, groups)


@pytest.mark.parametrize("wrong", [{"alpha": 5}, {"alpha": 0}, {"margin": 2.0}, {"level": 0.7}])
def test_impossible_levels_are_refused(wrong):
    with pytest.raises(UsageError, match="came"):
        compare_paired([0.5, 0.6, 0.7], [0.6, 0.6, 0.7], **wrong)
