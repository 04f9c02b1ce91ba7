"""The calibration: its truths against simulation, its verdicts against `compare_paired`, its tables."""

import dataclasses

import numpy as np
import pytest

from timelift.comparison import compare_family, compare_paired
from timelift.comparison.calibrate import __main__ as command
from timelift.comparison.calibrate import new_videos, these_videos
from timelift.comparison.calibrate.criteria import GROWN, Criterion, Row, to_markdown
from timelift.comparison.calibrate.expected import (
    accuracy_on,
    accuracy_on_new_videos,
    deviation_of_difference,
    shift_to,
    with_accuracy,
    worse_by,
)
from timelift.comparison.calibrate.grown import ALPHA, LOOKS, levels
from timelift.comparison.calibrate.verdicts import seeds_p, verdict_p
from timelift.comparison.family import holm_adjusted
from timelift.comparison.looks import plan_look
from timelift.comparison.simulate import World, answers, draw_test_sets, group_numbers
from timelift.comparison.twoway import sums_by_group

SMALL = World(sizes=(3, 5, 4, 1, 2, 6, 3, 3, 4, 2, 5, 4), seed=0.3, run=0.3, run_group=0.4)
ALIKE = World(sizes=(5,) * 12, seed=0.2)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_expected_accuracies_and_their_deviation_are_those_of_many_trainings(rng):
    logits = draw_test_sets(SMALL, 1, 2, rng)
    found = answers(SMALL, np.repeat(logits, 100, axis=0), 100, rng).mean(axis=-1)  # (100, 2, 100)
    a, b = found[:, 0].ravel(), found[:, 1].ravel()
    np.testing.assert_allclose((a.mean(), b.mean()), accuracy_on(SMALL, logits[0]), atol=0.004)
    expected = deviation_of_difference(SMALL, logits[0, 0], logits[0, 1])
    assert (b - a).std() == pytest.approx(expected, rel=0.03)
    without = dataclasses.replace(SMALL, seed=0.0, run=np.hypot(SMALL.seed, SMALL.run))
    assert expected < deviation_of_difference(without, logits[0, 0], logits[0, 1])  # a shared seed helps


def test_accuracy_on_new_videos_is_that_of_many_test_sets(rng):
    world = with_accuracy(ALIKE, 0.83)
    assert accuracy_on_new_videos(world) == pytest.approx(0.83, abs=1e-12)
    right = answers(world, draw_test_sets(world, 1500, 1, rng), 2, rng)
    assert right.mean() == pytest.approx(0.83, abs=0.006)


@pytest.mark.parametrize("accuracy", [0.3, 0.8, 0.99])
def test_logits_are_moved_to_exactly_the_accuracy_that_was_asked_for(rng, accuracy):
    logits = draw_test_sets(SMALL, 3, 2, rng)
    moved = shift_to(SMALL, logits, np.full((3, 2), accuracy))
    np.testing.assert_allclose(accuracy_on(SMALL, moved), accuracy, rtol=0, atol=1e-9)
    assert np.ptp(moved - logits, axis=-1).max() < 1e-9


def test_a_variant_is_worse_by_as_many_standard_deviations_as_asked_for(rng):
    world = with_accuracy(SMALL, 0.95)
    a, *b = draw_test_sets(world, 1, 4, rng)[0]
    deviations = np.array([1.0, 2.0, 3.0])
    moved = worse_by(world, a, np.array(b), deviations)
    lag = accuracy_on(world, a) - accuracy_on(world, moved)
    np.testing.assert_allclose(lag / deviation_of_difference(world, a[None], moved), deviations, rtol=1e-3)


def test_equal_kinds_are_equal_on_their_videos_and_the_others_as_different_as_named(rng):
    drawn = these_videos.draw_studies(ALIKE, 45, rng)
    assert drawn.difference.shape == (45, these_videos.KINDS, 30)
    np.testing.assert_allclose(drawn.truth[:, these_videos.EQUAL], 0, atol=1e-9)
    np.testing.assert_allclose(drawn.truth[:, these_videos.AT_MARGIN], -these_videos.MARGIN, atol=1e-9)
    assert (np.diff(drawn.truth[:, these_videos.WORSE], axis=1) < 0).all()
    error = drawn.difference.std(axis=2, ddof=1) / np.sqrt(30)
    apart = (drawn.difference.mean(axis=2) - drawn.truth) / error
    assert np.abs(apart.mean(axis=0)).max() < 4 / np.sqrt(45)
    assert len(np.unique(drawn.truth[:, these_videos.AS_DRAWN])) == 3  # 20 studies a test set


def studies_of(world: World, runs: int, count: int, rng: np.random.Generator, worse: float = 0.0):
    logits = draw_test_sets(world, count, 3, rng)
    logits[:, 1] -= worse
    return answers(world, logits, runs, rng).astype(float)


@pytest.mark.parametrize("runs", [3, 5, 10, 20])
@pytest.mark.parametrize("world", [SMALL, ALIKE], ids=["unequal groups", "equal groups"])
def test_what_is_calibrated_is_what_compare_paired_decides(rng, runs, world):
    groups, sizes = group_numbers(world), np.array(world.sizes)
    right = studies_of(world, runs, 6, rng, worse=0.7)
    difference = right[:, 1] - right[:, 0]
    sums = sums_by_group(difference, groups)
    found = [compare_paired(a, b, groups) for a, b in right[:, :2]]
    exact = verdict_p(sums, sizes, ALPHA, loosest=1.0)
    np.testing.assert_allclose(exact, [one.p for one in found], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        seeds_p(difference.mean(axis=-1), ALPHA), [one.p_seeds for one in found], rtol=1e-10, atol=1e-12
    )
    assert ((verdict_p(sums, sizes, ALPHA, loosest=ALPHA) <= ALPHA) == (exact <= ALPHA)).all()
    for truth in (-0.1, 0.02):
        inside = verdict_p(sums - truth * sizes, sizes, ALPHA, ALPHA) > ALPHA
        assert inside.tolist() == [one.interval[0] < truth < one.interval[1] for one in found]


@pytest.mark.parametrize("runs", [5, 10])
def test_families_are_calibrated_as_compare_family_decides_them(rng, runs):
    right = studies_of(ALIKE, runs, 5, rng, worse=0.7)
    sums = sums_by_group(right[:, 1:] - right[:, :1], group_numbers(ALIKE))
    p = verdict_p(sums, np.array(ALIKE.sizes), ALPHA / 2, loosest=1.0)
    for one, adjusted in zip(right, holm_adjusted(p), strict=True):
        scores = dict(zip(("base", "worse", "equal"), one, strict=True))
        family = compare_family(scores, "base", group_numbers(ALIKE))
        np.testing.assert_allclose([x.p_adjusted for x in family], adjusted, rtol=1e-10)


def test_equivalence_is_judged_as_compare_paired_does(rng):
    world = World(sizes=(20,) * 30, ability=5.0, variant_group=0.3, variant_video=0.3, run=0.1)
    right = studies_of(world, 30, 8, rng)
    kinds = np.zeros((8, 7, 30, 30))
    kinds[:, new_videos.AT_MARGIN] = sums_by_group(right[:, 1] - right[:, 0], group_numbers(world))
    judged = new_videos.judge(kinds, np.array(world.sizes))
    for seeds in (5, 30):
        found = [compare_paired(a[:seeds], b[:seeds], group_numbers(world)) for a, b in right[:, :2]]
        assert (judged[seeds].equivalent <= ALPHA).tolist() == [one.equivalent for one in found]
    assert any(one.equivalent for one in found)


def test_looks_are_judged_at_the_levels_that_studies_use():
    assert levels() == tuple(plan_look(LOOKS[: i + 1], 5, 30).nominal for i in range(len(LOOKS)))


@pytest.mark.parametrize("seeds", [5, 30])
def test_the_paired_t_errs_as_rarely_as_promised_on_these_videos(rng, seeds):
    drawn = these_videos.draw_studies(ALIKE, 400, rng)
    part = these_videos.Studies(drawn.difference[:, :, :seeds], drawn.truth)
    pair, family = Row(2, seeds, "small"), Row(4, seeds, "small")
    found = [*these_videos._errors(pair, family, part), *these_videos._power(pair, family, part)]
    for one in found:
        assert one.low - 4 * one.error <= one.found <= one.high + 4 * one.error, one


def test_a_criterion_holds_within_its_bounds_and_says_what_was_wanted():
    row = Row(2, 5, "easy")
    one = row.share("false", np.arange(100) < 5, 0.035, 0.06)
    assert (one.found, one.wanted, one.holds) == (0.05, "3.5 to 6.0", True)
    assert one.error == pytest.approx(np.sqrt(0.05 * 0.95 / 100))
    assert not row.share("false", np.arange(100) < 7, 0.035, 0.06).holds
    assert not row.share("false", np.arange(100) < 3, 0.035, 0.06).holds
    assert row.share("false", np.zeros(9), high=0.06).wanted == "at most 6.0"
    assert row.share("covers", np.ones(9), low=0.93).wanted == "at least 93.0"
    assert row.share("BCa", np.zeros(9)).wanted == ""


def test_the_table_has_a_column_for_each_test_set_and_marks_what_does_not_hold():
    found = [
        Criterion("false", 2, 5, "easy", 0.05, 400, 0.035, 0.06),
        Criterion("false", 2, 5, "hard", 0.08, 400, 0.035, 0.06),
        Criterion("any look", 4, GROWN, "hard", 0.02, 400, high=0.06),
    ]
    assert to_markdown(found).splitlines() == [
        "|  | variants | seeds | wanted, % | easy | hard |",
        "|---|---:|---:|---:|---:|---:|",
        "| false | 2 | 5 | 3.5 to 6.0 | 5.0 ± 1.1 | **8.0 ± 1.4 no** |",
        "| any look | 4 | 5 to 30 | at most 6.0 |  | 2.0 ± 0.7 |",
    ]


def test_the_command_prints_every_table_and_fails_if_a_promise_is_broken(monkeypatch, capsys):
    tiny = World(sizes=(2,) * 6)
    monkeypatch.setattr(command, "TEST_SETS", {"tiny": (0.7, tiny)})
    monkeypatch.setattr(command, "WORLDS", {"tiny world": tiny})
    monkeypatch.setattr(new_videos, "PILOTS", 4)
    monkeypatch.setattr(these_videos, "BOOTSTRAPS", 4)
    kept = Criterion("kept", 2, 5, "tiny", 0.05, 20, high=0.06)
    code = command.main(["--studies", "20"])
    out = capsys.readouterr().out
    assert (code == 1) == ("no**" in out)
    for words in (
        "20 simulated studies",
        "paired t",
        "| tiny |",
        "seeds + groups",
        "| tiny world |",
        "hold.",
    ):
        assert words in out
    monkeypatch.setattr(command, "on_these_videos", lambda studies: [kept])
    monkeypatch.setattr(command, "on_new_videos", lambda studies: [kept])
    assert command.main(["--studies", "20"]) == 0
    monkeypatch.setattr(command, "on_new_videos", lambda studies: [dataclasses.replace(kept, found=0.07)])
    assert command.main(["--studies", "20"]) == 1
    assert "1 of 2 promises hold" in capsys.readouterr().out
