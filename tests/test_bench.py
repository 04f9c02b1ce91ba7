"""Timing: turns, medians and ratios from a clock that is made up; the benches compare equal things."""

import dataclasses

import numpy as np
import pytest
import torch

from timelift.bench import data, decoders, harness, replicas, transform, workers
from timelift.bench.lenets import TRAINING, laid_study
from timelift.bench.transform import PLACES, Place, forward, forward_and_backward, layers_at
from timelift.cli.main import main
from timelift.comparison import store
from timelift.data.encode import encode_grey
from timelift.records import DataError, UsageError
from timelift.runs.train_one import Cell, fit
from timelift.timing import Contest, Timed, measure, quartiles


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
    a, b = measure(Contest("", ways), turns=4, clock=clock).ways
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
    ).ways
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
    titles = [contest.title for contest in transform.contests()]
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


@pytest.mark.parametrize("variant", ["lenet5_3d(channels=(2, 3))", "lenet5_3dttn(channels=(2, 3))"])
def test_the_ways_of_the_replicas_bench_take_the_same_steps(variant):
    contest = replicas.contest(replicas.Setting(variant, 3, batch=2, frames=12, side=12), torch.device("cpu"))
    alone, together = ([way() for _ in range(3)] for way in contest.ways.values())
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not alone[0].equal(alone[2])  # the steps move something
    assert len(set(alone[0].tolist())) == 3  # and every replica is another


@pytest.fixture(scope="module")
def laid():
    with laid_study(dataclasses.replace(TRAINING, epochs=2, batch_size=4), videos=10, side=12) as study:
        yield study


def test_the_bare_loop_of_the_harness_bench_ends_with_the_weights_of_a_run(laid):
    """What is compared does the same work."""
    variant, device = laid.study.variants[0], torch.device("cpu")
    assert [list(contest.ways) for contest in harness.contests(laid, variant, device)] == [
        ["bare loop", "training"],
        ["bare loop and forwards", "a study's run"],
    ]
    one_epoch = dataclasses.replace(laid.study.recipe.training, epochs=1, reshuffle="epoch")
    recipe = dataclasses.replace(laid.study.recipe, training=one_epoch)
    cell = Cell(variant, 0, recipe, laid.data, laid.frames, device)
    batches, views = harness.clips_in_memory(cell)
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert sum(len(clips) for clips in views) == 20
    bare = harness.bare_training(cell, batches).state_dict()
    run = fit(cell, laid.folder / "tried", None).model.state_dict()
    for name, tensor in run.items():
        torch.testing.assert_close(bare[name], tensor, rtol=1e-4, atol=1e-6)


def test_seconds_a_run_count_from_the_first_start_to_the_last_end():
    times = [("00:00:10", "00:00:20"), ("00:00:12", "00:00:22.5"), ("00:00:20", "00:00:31")]
    cells = tuple(
        store.Cell(i, "", "v", "", i, "done", started=f"2020-01-01T{start}", finished=f"2020-01-01T{end}")
        for i, (start, end) in enumerate(times)
    )
    assert workers.seconds_a_run(cells) == 7


@pytest.mark.slow
def test_a_crew_runs_every_cell_and_leaves_nothing_behind(laid):
    cells = workers.run_all(
        laid, laid.study.variants[0], 3, workers.Crew(2, 1), torch.device("cpu"), number=0
    )
    assert [(cell.seed, cell.state) for cell in cells] == [(0, "done"), (1, "done"), (2, "done")]
    assert {cell.worker for cell in cells} <= {"worker-0", "worker-1"}
    assert not laid.folder.with_name("study-0").exists()


def lossless(path, frames):
    """Noise as a video that loses nothing, (T, H, W) grey."""
    path.write_bytes(encode_grey(frames, fps=10))
    return path


@pytest.fixture
def two_videos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        lossless(tmp_path / f"{name}.mkv", rng.integers(0, 256, (20, 20, 32), dtype=np.uint8))
    return tmp_path


def test_the_ways_of_the_data_bench_give_the_right_frames_and_say_which_are_not(two_videos):
    clips = data.clips_of(data.videos_of(two_videos), None, 6)
    assert [clip.indices for clip in clips] == [tuple(range(7, 13))] * 2
    truth = np.stack(list(decoders.sequential(clips[0].path)))
    for name, way in data.WAYS.items():
        frames = way(clips[0].path, clips[0].indices, None)
        words = data.verdict(frames, truth, clips[0].indices)
        assert words == "" or (name.startswith("OpenCV") and "right frames" in words)
    assert "wrong frames: 8 for 7, 13 for 12" in data.verdict(truth[8:14], truth, clips[0].indices)
    assert data.verdict(truth[7:12], truth, clips[0].indices) == "5 of 6 frames"
    assert "off by up to 1" in data.verdict(truth[7:13] ^ 1, truth, clips[0].indices)
    lines = list(data.exactness(two_videos))
    assert lines[:2] == ["plain PyAV: 2 of 2 clips exact", "timelift: 2 of 2 clips exact"]


def test_scaled_frames_of_ours_are_those_of_plain_calls(two_videos):
    (clip, _) = data.clips_of(data.videos_of(two_videos), 13, 6)
    plain, own = (data.WAYS[name](clip.path, clip.indices, clip.size) for name in ("plain PyAV", "timelift"))
    np.testing.assert_array_equal(own, plain)


def test_the_data_bench_prints_clips_per_cpu_second(two_videos, capsys):
    with pytest.raises(SystemExit) as end:
        main(["bench", "data", "--repeats", "1", "--data", str(two_videos)])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.count("clips per CPU-second: plain PyAV") == 3
    assert "timelift: 2 of 2 clips exact" in out


def test_the_data_bench_asks_for_videos(monkeypatch, tmp_path):
    monkeypatch.delenv("TIMELIFT_SHARED", raising=False)
    with pytest.raises(UsageError, match="--data"):
        data.videos_of(None)
    with pytest.raises(DataError, match="holds no video files"):
        data.videos_of(tmp_path)
