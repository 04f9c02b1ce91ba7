"""Times to an accuracy, and who was sooner when some runs never got there."""

import numpy as np
import pytest
from scipy import stats

from timelift.comparison.sooner import compare_times
from timelift.comparison.timeto import Times, target_accuracy, time_to
from timelift.records.errors import UsageError

STEPS = np.arange(100, 1100, 100)


def rising(rates: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((len(rates), len(STEPS)))
    return np.clip(1 - np.exp(-STEPS / np.asarray(rates)[:, None]) + 0.02 * noise, 0, 1)


def loop_time(curve: np.ndarray, at: np.ndarray, target: float) -> tuple[float, bool]:
    last = 0.0
    for accuracy, step in zip(curve, at, strict=True):
        if np.isnan(accuracy):
            continue
        last = step
        if accuracy >= target:
            return step, True
    return last, False


@pytest.mark.parametrize("target", [0.3, 0.6, 0.9, 0.99])
def test_the_time_is_that_of_the_first_check_at_the_target(target):
    curves = rising(np.array([150, 300, 500, 900]))
    curves[1, 3], curves[2, 7:] = np.nan, np.nan  # a check left out, a run that ended early
    found = time_to(curves, STEPS, target)
    expected = [loop_time(curve, STEPS, target) for curve in curves]
    assert list(zip(found.time, found.reached, strict=True)) == expected


def test_seconds_may_differ_from_run_to_run():
    curves = rising(np.array([200, 200]))
    seconds = np.stack([STEPS * 0.5, STEPS * 2.0])
    in_steps, in_seconds = time_to(curves, STEPS, 0.8), time_to(curves, seconds, 0.8)
    np.testing.assert_allclose(in_seconds.time, in_steps.time * [0.5, 2.0])


def test_the_target_is_a_share_of_the_best_variants_mean():
    assert target_accuracy([np.array([0.5, 0.7]), np.array([0.9, 0.7])], 0.9) == pytest.approx(0.72)


def times(values: list[float], end: float | list[float] = 1000.0) -> Times:
    """Times where a run that needs more than `end` is censored there."""
    value = np.array(values, dtype=float)
    return Times(np.minimum(value, end), value <= end)


def test_without_censoring_it_is_the_paired_t_of_all_times():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(300, 900, 8), rng.uniform(200, 700, 8)
    found = compare_times(times(a.tolist()), times(b.tolist()))
    oracle = stats.ttest_rel(b, a)
    assert found.restricted_mean == pytest.approx((b - a).mean())
    np.testing.assert_allclose(found.interval, oracle.confidence_interval(0.95))
    first = int((b < a).sum())
    assert (found.sooner, found.later) == (first, 8 - first)
    assert found.p_sign == pytest.approx(stats.binomtest(first, 8).pvalue)
    assert found.both == found.pairs == 8
    assert "Within" not in found.sentence


def test_pairs_are_counted_by_who_reached_the_target():
    a, b = times([400, 2000, 500, 2000, 1000]), times([600, 700, 2000, 2000, 2000])
    found = compare_times(a, b)
    assert (found.both, found.only_variant, found.only_baseline, found.neither) == (1, 1, 2, 1)
    assert (found.sooner, found.later) == (1, 3)  # who gets there at the last check beats who never does
    assert found.horizon == 1000
    assert found.restricted_mean == pytest.approx((200 - 300 + 500 + 0 + 0) / 5)
    assert "2 of 5 runs of a and 3 of b did not reach it" in found.sentence


def test_what_happens_after_the_horizon_changes_nothing():
    """A longer run must not count by more than what all were watched for."""
    short = times([400, 900, 950, 2000], [1000, 1000, 1000, 1000])
    long = times([300, 1700, 700, 800], [2000, 2000, 2000, 2000])
    longer = times([300, 9000, 700, 800], [10000, 2000, 2000, 2000])
    assert compare_times(short, long) == compare_times(short, longer)
    assert compare_times(short, long).restricted_mean == pytest.approx((-100 + 100 - 250 - 200) / 4)


def test_the_restricted_mean_is_the_area_between_the_shares_not_yet_there():
    rng = np.random.default_rng(1)
    a, b = times(rng.integers(300, 1500, 40).tolist()), times(rng.integers(100, 1200, 40).tolist())
    grid = np.arange(0, 1000) + 0.5
    waiting = [np.mean((one.time[:, None] > grid), axis=0).sum() for one in (a, b)]
    assert compare_times(a, b).restricted_mean == pytest.approx(waiting[1] - waiting[0])


def test_leaving_out_or_ending_censored_runs_would_flatter_the_slow_variant():
    rng = np.random.default_rng(2)
    slow, fast = rng.exponential(1500, 300), rng.exponential(700, 300)
    found = compare_times(times(slow.tolist()), times(fast.tolist()))
    kept = (slow <= 1000) & (fast <= 1000)
    truth = np.minimum(fast, 1000).mean() - np.minimum(slow, 1000).mean()
    assert found.restricted_mean == pytest.approx(truth)
    assert abs((fast - slow)[kept].mean()) < abs(truth) / 2


def test_turning_the_pair_round_turns_the_answer_round():
    a, b = times([400, 2000, 500, 800]), times([300, 700, 450, 600])
    there, back = compare_times(a, b), compare_times(b, a)
    assert there.restricted_mean == -back.restricted_mean
    np.testing.assert_allclose(there.interval, [-x for x in reversed(back.interval)])
    assert (there.sooner, there.later, there.p_sign) == (back.later, back.sooner, back.p_sign)


def test_equal_variants_are_told_apart_as_rarely_as_promised():
    rng, wrong, signs = np.random.default_rng(3), 0, 0
    for _ in range(400):
        a, b = times((50 * rng.integers(8, 26, 6)).tolist()), times((50 * rng.integers(8, 26, 6)).tolist())
        found = compare_times(a, b)
        wrong += not found.interval[0] <= 0 <= found.interval[1]
        signs += found.p_sign <= 0.05
    assert wrong / 400 <= 0.075  # 5 % and two standard errors
    assert signs / 400 <= 0.05


def test_sentences_say_who_is_sooner_and_what_is_not_known():
    fast, slow = times([300, 320, 310, 350, 330]), times([700, 760, 690, 2000, 720])
    names = {"names": ("framewise", "inflated"), "unit": "seconds"}
    sooner = compare_times(slow, fast, **names).sentence
    assert sooner.startswith("inflated reaches the target 452 seconds sooner than framewise (95 % interval")
    assert "inflated first in 5, last in 0" in sooner
    assert "1 of 5 runs of framewise and 0 of inflated did not reach it" in sooner
    assert "later than" in compare_times(fast, slow, **names).sentence
    assert "cannot be told from" in compare_times(fast, times([300, 310, 330, 320, 350])).sentence


@pytest.mark.parametrize(("a", "b"), [([300, 400], [200, 250]), ([300, 400, 500], [200, 300, 400])])
def test_too_few_pairs_or_one_same_difference_give_no_interval(a, b):
    found = compare_times(times(a), times(b))
    assert found.interval == (float("-inf"), float("inf"))
    assert "interval unbounded" in found.sentence
    assert compare_times(times([2000] * 4), times([2000] * 4)).p_sign == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: time_to(np.ones(3), np.ones(3), 0.5), "(runs, checks)"),
        (lambda: time_to(np.ones((2, 3)), np.arange(2), 0.5), "(runs, checks)"),
        (lambda: time_to(np.ones((2, 3)), np.array([1, 1, 2]), 0.5), "do not grow"),
        (lambda: time_to(np.full((2, 2), np.nan), np.arange(2), 0.5), "never checked|no accuracy"),
        (lambda: target_accuracy([], 0.9), "at least one run"),
        (lambda: target_accuracy([np.ones(2)], 1.2), "share: 1.2"),
        (lambda: compare_times(times([1]), times([1, 2])), "1 and 2 runs"),
        (lambda: compare_times(times([]), times([])), "0 and 0 runs"),
    ],
)
def test_wrong_input_is_refused_in_words(call, words):
    pattern = words.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(UsageError, match=pattern):
        call()
