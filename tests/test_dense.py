"""Dense evaluation: whole videos against sliding windows, frames asked for once, any number of processes."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from test_cli import complaint, own_cache, run, train  # noqa: F401
from timelift import lift
from timelift.conversions import Inflate
from timelift.data.dataset import EvaluationClips, WholeVideos, whole_indices
from timelift.evaluation.evaluate import Share, evaluate
from timelift.evaluation.whole import refusal
from timelift.networks.select import first
from timelift.records import ClipFormat, Manifest, Recipe, UsageError, Video, Views
from timelift.records.predictions import read_predictions
from timelift.runs.judging import Asked, asked_recipe
from videos_tiny import settings, write_net, write_videos

CLIP = ClipFormat(frames=3, stride=2, short_side=8, size=8)


class Frames:
    """Frames that differ, 8 pixels high; it counts how often each is asked for."""

    def __init__(self):
        self.asked = []

    def frames(self, video, indices):
        self.asked += [(video.path, index) for index in indices]
        rng = np.random.default_rng(int(video.path))
        return rng.integers(0, 256, (video.frames, 8, 11, 3), dtype=np.uint8)[indices]


def manifest(*frames):
    videos = tuple(Video(str(i), "ab"[i % 2], frames=count, status="ok") for i, count in enumerate(frames))
    return Manifest("/", ("a", "b"), videos)


def normalise(views):
    return views.float() / 255 - 0.5


def network(head_pools=True):
    torch.manual_seed(1)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)]
    fixed = [nn.Flatten(), nn.Linear(5 * 8 * 8, 2)]
    image = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), *(pooled if head_pools else fixed))
    rule = Inflate(3, "random", padding="valid") @ first(1)
    return lift(image, rule, example=torch.zeros(1, 3, 8, 8)).eval()


@pytest.mark.parametrize(
    ("frames", "most", "windows"),
    [(10, 4, [[0, 3, 6, 9]]), (10, 9, [[0, 3, 6, 9]]), (2, 3, [[0, 0, 0]]), (12, 3, [[0, 3, 6], [3, 6, 9]])],
)
def test_a_whole_video_is_every_stride_th_frame(frames, most, windows):
    assert whole_indices(frames, ClipFormat(frames=3, stride=3), most) == windows


@pytest.mark.parametrize("frames", range(1, 60, 7))
def test_windows_of_a_long_video_leave_no_frame_out(frames):
    windows = whole_indices(frames, CLIP, 5)
    assert {index for window in windows for index in window} == set(range(0, frames, 2))
    assert len({len(window) for window in windows}) == 1


def test_a_whole_video_is_the_mean_of_all_its_windows():
    """Valid padding in time: the convolution over the video is that over all windows of its length."""
    there, model, recipe = manifest(13), network(), Recipe(clip=CLIP)
    whole = evaluate(
        model, WholeVideos(there, recipe, Frames()), there, normalise=normalise, device="cpu"
    ).clip_logits
    frames = torch.from_numpy(Frames().frames(there.videos[0], list(range(0, 13, 2))))  # (7, H, W, C)
    clip = normalise(frames.permute(3, 0, 1, 2)[None])
    with torch.no_grad():
        windows = torch.stack([model(clip[:, :, start : start + 3])[0] for start in range(5)])
    np.testing.assert_allclose(whole[0, 0], windows.mean(dim=0), atol=1e-5)


def test_each_frame_is_asked_for_once():
    there, source = manifest(40, 5), Frames()
    clips = EvaluationClips(there, Recipe(clip=CLIP, views=Views(clips=10, crops="three")), source)
    assert [len(clips[i][0]) for i in range(2)] == [30, 30]
    assert len(source.asked) == len(set(source.asked))
    source.asked.clear()
    WholeVideos(there, Recipe(clip=CLIP), source, most_frames=6)[0]
    assert len(source.asked) == len(set(source.asked)) == 20


def test_a_network_of_one_size_is_named_with_its_layer():
    assert refusal(network(), (3, 9, 20, 30)) == ""
    assert refusal(network(head_pools=False), (3, 3, 8, 8)) == ""
    assert refusal(network(head_pools=False), (3, 3, 8, 11)).startswith("image_net.3: ")
    assert "at least 3 frames" in refusal(network(), (3, 2, 8, 8))


def test_long_videos_are_seen_densely_unless_told_otherwise():
    span = 5
    assert asked_recipe(Asked(), manifest(10 * span, 60), CLIP)[0].views == Views(10, "three")
    assert asked_recipe(Asked(), manifest(10 * span - 1), CLIP)[0].views == Views(1, "centre")
    assert asked_recipe(Asked(clips=2), manifest(999), CLIP)[0].views == Views(2, "centre")
    assert "long" in asked_recipe(Asked(), manifest(999), CLIP)[1]
    with pytest.raises(UsageError, match="leave out --clips"):
        asked_recipe(Asked(clips=2, whole=True), manifest(9), CLIP)
    with pytest.raises(UsageError, match="at least a clip's 3"):
        WholeVideos(manifest(9), Recipe(clip=CLIP), Frames(), most_frames=2)


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_any_number_of_processes_gives_the_answers_of_one_to_the_bit(processes):
    there = manifest(*range(5, 28, 2))
    recipe = Recipe(
        clip=CLIP, views=Views(clips=0, window_stride=4)
    )  # videos differ in their number of views

    def answers(share):
        clips = EvaluationClips(there, recipe, Frames())
        return evaluate(
            network(), clips, there, normalise=normalise, device="cpu", batch_views=3, share=share
        ).clip_logits

    parts = []

    class Enough(Exception):
        pass

    def keep(mine):
        parts.append(mine)
        raise Enough

    for rank in range(processes):
        with pytest.raises(Enough):
            answers(Share(rank, processes, keep))
    judged = [video for part in parts for video in part]
    assert sorted(judged) == list(range(len(there.videos)))  # none twice, none left out
    np.testing.assert_array_equal(answers(Share(0, 1, lambda mine: parts)), answers(Share()))


def test_evaluate_sees_whole_videos_and_fused_runs(tmp_path, capsys):
    data = write_videos(tmp_path / "videos")
    for name, seed in (("one", 0), ("two", 1)):
        assert train(data, tmp_path / name, "--no-validation", "--seed", seed) == 0
    assert run("fuse", tmp_path / "one", tmp_path / "two", "--output", tmp_path / "both") == 0
    again = tmp_path / "again.npz"
    assert run("evaluate", tmp_path / "both", data, "--output", again) == 0
    stored = read_predictions(tmp_path / "both" / "predictions.npz")
    np.testing.assert_allclose(read_predictions(again).scores(), stored.scores(), atol=1e-5)
    assert run("evaluate", tmp_path / "one", data, "--whole", "--output", again) == 0
    assert read_predictions(again).clip_logits.shape == (12, 1, 2)
    (data / "test" / "left").rename(data / "test" / "leftwards")
    (data / "train" / "left").rename(data / "train" / "leftwards")
    told = complaint(capsys, "evaluate", tmp_path / "one", data, "--output", again, code=1)
    assert "not trained on 'leftwards', which 6 of 12 videos show" in told


@pytest.mark.slow
def test_two_processes_evaluate_to_the_predictions_of_one(tmp_path):
    data, net = write_videos(tmp_path / "videos", per_class=9), write_net(tmp_path)
    surroundings = os.environ | {"TIMELIFT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def timelift(*words, launcher=()):
        command = [sys.executable, *launcher, "-m", "timelift", *map(str, words)]
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    timelift("train", data, "--variant", f"{net} Inflate(frames=3)", "--no-validation", "--output",
             tmp_path / "run", *settings())  # fmt: skip
    words = ("evaluate", tmp_path / "run", data, "--clips", 3, "--crops", "three", "--output")
    one = timelift(*words, tmp_path / "one.npz")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    two = timelift(*words, tmp_path / "two.npz", launcher=launcher)
    first, second = (read_predictions(tmp_path / name) for name in ("one.npz", "two.npz"))
    assert first.videos == second.videos
    np.testing.assert_array_equal(first.clip_logits, second.clip_logits)
    assert one.replace("one.npz", "two.npz") == two
