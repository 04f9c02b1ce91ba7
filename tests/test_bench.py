"""Timing: turns, medians and ratios from a clock that is made up; the benches compare equal things."""

import pytest
import torch

from timelift.bench import BENCHES
from timelift.bench.timing import Contest, Timed, measure, quartiles
from timelift.bench.transform import PLACES, Place, forward, forward_and_backward, layers_at
from timelift.cli.main import main


class Clock:
    """A clock that only calls move on."""

    def __init__(self):
        self.now = 0.0
        self.called: list[str] = []

    def way(self, name, *seconds):
        """A call that takes these seconds in turn, then the last again and again."""
        left = list(seconds)

        def run():
            self.called.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def __call__(self):
        return self.now


def test_ways_are_timed_turn_by_turn_after_calls_that_do_not_count():
    clock = Clock()
    ways = {"a": clock.way("a", 100, 50, 1, 2, 3, 4), "b": clock.way("b", 90, 60, 2, 4, 6, 16)}
    a, b = measure(Contest("", ways), turns=4, clock=clock)
    assert "".join(clock.called) == "aabb" + "ab" * 4
    assert a.seconds == (1, 2, 3, 4)
    assert b.seconds == (2, 4, 6, 16)
    assert b.ratios == (2, 2, 2, 4)
    assert b.ratio == (2, 2, 2.5)
    assert a.ratio == (1, 1, 1)
    assert (b.median, b.minimum) == (5, 2)
    assert b.spread == pytest.approx((8.5 - 3.5) / 5)


def test_what_is_quick_is_called_until_the_time_can_be_told():
    clock = Clock()
    quick, slow = measure(
        Contest("", {"quick": clock.way("q", 1), "slow": clock.way("s", 7)}), 3, least_seconds=5, clock=clock
    )
    assert clock.called.count("q") == 2 + 3 * 5
    assert clock.called.count("s") == 2 + 3
    assert quick.seconds == (1, 1, 1)
    assert slow.ratio[0] == 7


def test_one_turn_has_no_spread_and_none_is_refused():
    assert quartiles((3.0,)) == (3.0, 3.0)
    assert Timed("a", (2.0,), (1.0,)).ratio == (2, 2, 2)
    with pytest.raises(ValueError, match="at least one"):
        measure(Contest("", {"a": lambda: None}), 0)


SMALL = Place("small", 2, 3, 3, 5, (1, 6, 7, 6))
MANY = Place("many channels", 80, 3, 3, 3, (1, 4, 5, 5))


@pytest.mark.parametrize("place", [SMALL, MANY], ids=lambda place: place.name)
def test_the_ways_of_the_transform_bench_give_the_same_answers_and_gradients(place):
    torch.manual_seed(0)
    layers, clip = layers_at(place), torch.randn(place.clips)
    answers = [forward(layer, clip)() for layer in layers.values()]
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=1e-4, atol=1e-5)
    plain, moved, looped = (forward_and_backward(layer, clip)() for layer in layers.values())
    torch.testing.assert_close(moved[0], plain[0], rtol=1e-4, atol=1e-5)
    assert len(moved) == len(looped) == 1 + 1 + 4
    for one, other in zip(moved, looped, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_transform_bench_times_every_place_both_ways():
    titles = [contest.title for contest in BENCHES["transform"]()]
    assert titles == [f"{p.name}, {way}" for p in PLACES for way in ("forward", "forward and backward")]


def test_the_verb_prints_ratios_and_the_machine(monkeypatch, capsys):
    monkeypatch.setattr("timelift.bench.transform.PLACES", (SMALL,))
    with pytest.raises(SystemExit) as end:
        main(["bench", "transform", "--repeats", "2"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "small, forward and backward" in out
    assert "nn.Conv3d" in out
    assert "1 thread(s)" in out
    assert f"torch {torch.__version__}" in out


def test_an_unknown_bench_is_named_with_those_there_are(capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", "everything"])
    assert end.value.code == 2
    assert "no bench 'everything'; there are transform" in capsys.readouterr().err
