"""Clips that overlap, answered together, get what each gets alone; and the work on a frame is done once."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from test_cli import run
from timelift import (
    AvgPool,
    Factorize,
    Gate,
    Inflate,
    MaxPool,
    Recur,
    Shift,
    TokenConv,
    Transform,
    build_variant,
    lift,
    named,
    parse_variant,
    save,
    tokens,
)
from timelift.data.dataset import EvaluationClips, view_indices
from timelift.data.sampling import clip_indices, even_starts, sliding_starts
from timelift.deploy.edges import Reach, flat_batch
from timelift.deploy.overlap import OverlappingClips
from timelift.deploy.prefix import End, Prefix
from timelift.evaluation.evaluate import evaluate
from timelift.records import ClipFormat, Manifest, Recipe, UsageError, Video, Views
from timelift.records.predictions import read_predictions
from timelift.runs.sharing import sharing
from timelift.systems.over_time import MeanOverTime
from timelift.testing import wake
from videos_tiny import write_net, write_videos

VIDEO, LENGTH = 24, 9
CLIPS = {
    "even": [clip_indices(VIDEO, LENGTH, 1, start) for start in even_starts(VIDEO, LENGTH, 5)],
    "every second frame": [clip_indices(VIDEO, LENGTH, 2, s) for s in even_starts(VIDEO, 17, 5)],
    "sliding": [clip_indices(VIDEO, LENGTH, 1, start) for start in sliding_starts(VIDEO, LENGTH, 1)],
    "apart": [clip_indices(VIDEO, LENGTH, 1, start) for start in (0, 15)],
    "a short video": [clip_indices(4, LENGTH, 1, start) for start in even_starts(4, LENGTH, 3)],
    "past the end": [clip_indices(VIDEO, LENGTH, 1, start) for start in (0, 3, 20)],
}
INSIDE = {  # the network sees a few frames around each: first and last frames of a clip that are its own
    (0, 0): (),
    (1, 1): (Inflate(3) @ named("conv1"),),
    (2, 0): (Inflate(3, causal=True, padding="zeros") @ named("layer2.conv2"),),
    (1, 2): (Inflate(4, padding="same") @ named("conv1"),),
    (3, 3): (Factorize(3, "both", start="random") @ named("layer?.conv2"), MaxPool(3, 1) @ named("pool1")),
    (2, 2): (Transform(3) @ named("layer1.conv1"), Shift(4, padding="zeros") @ named("layer2.conv1")),
    (4, 0): (AvgPool(2, 1, causal=True) @ named("layer1"), Factorize(4, causal=True) @ named("conv1")),
}
WHOLE = {  # it sees whole clips, behind the module that is named
    "pool1": (MaxPool(2) @ named("layer1"),),
    "layer1": (Recur("gru", "random") @ named("layer2.conv?"), Gate() @ named("layer2")),
    "relu": (AvgPool(3, 2) @ named("pool1"),),
    None: (Inflate(3, padding="valid") @ named("conv1"),),
}


def drawn(video):
    """Something random in every parameter: an identity start hides what is not shared."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in video.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.3 * parameter[0].numel() ** -0.5 if parameter.dim() else 0.3)
    return video.eval()


def network(rules, build=Tiny):
    return drawn(lift(wake(seeded(build), frames()), *rules))


def pixels(number=VIDEO):
    return clip(number, clips=1).double()[0].transpose(0, 1)  # (N, C, H, W)


def alone(video, video_frames, places):
    """Each clip's own answer, clip by clip: (V, K)."""
    with torch.no_grad():
        return torch.cat([video(video_frames[row].transpose(0, 1)[None]) for row in places])


def check(video, places):
    together = OverlappingClips(video, pixels()[:1], LENGTH)
    torch.testing.assert_close(together(pixels(), places), alone(video, pixels(), places))
    return together


@pytest.mark.parametrize("clips", CLIPS)
@pytest.mark.parametrize("reach", INSIDE, ids=str)
def test_clips_answered_together_get_what_each_gets_alone(reach, clips):
    together = check(network(INSIDE[reach]), torch.tensor(CLIPS[clips]))
    assert together.reach == Reach(*reach)
    first, last = reach
    said = (
        f"all frames but each one's first {first} and last {last}" if reach != (0, 0) else "share all frames"
    )
    assert said in str(together)


@pytest.mark.parametrize("clips", CLIPS)
@pytest.mark.parametrize("end", WHOLE)
def test_networks_that_see_whole_clips_share_the_layers_before(end, clips):
    together = check(network(WHOLE[end]), torch.tensor(CLIPS[clips]))
    assert str(together).startswith(
        f"clips that overlap share {f'the layers up to {end},' if end else 'nothing:'}"
    )


def seen_by(module):
    """The numbers of frames that a layer on frames gets, from here on."""
    numbers = []
    module.register_forward_pre_hook(lambda _, given: numbers.append(len(given[0])))
    return numbers


@pytest.mark.parametrize("clips", CLIPS)
def test_a_layer_on_clips_inside_another_is_whole(clips):
    rules = (MaxPool(3, 1) @ named("layer1"), Inflate(3) @ named("layer1.conv1"))
    together = check(network(rules), torch.tensor(CLIPS[clips]))
    assert "the layers up to pool1" in str(together)


def test_the_first_convolution_sees_each_frame_once():
    places = torch.tensor(CLIPS["even"])
    for rules in (INSIDE[0, 0], INSIDE[2, 0], WHOLE["layer1"]):
        video = network(rules)
        together = OverlappingClips(video, pixels()[:1], LENGTH)
        numbers = seen_by(video.image_net.conv1)
        together(pixels(), places)
        assert numbers == [VIDEO, 1]  # and one, in whose place the clips go on


def test_a_layer_that_runs_often_is_the_prefix_end_in_its_last_call_before_time():
    video = network((Recur("gru", "random") @ named("convs.2"),), Chain)
    together = OverlappingClips(video, pixels()[:1], LENGTH)
    numbers = seen_by(video.image_net.convs[1])
    together(pixels(), torch.tensor(CLIPS["even"]))
    assert numbers == [VIDEO, 1]


def test_every_layer_sees_frames_and_edges():
    video = network(INSIDE[1, 1])
    together = OverlappingClips(video, pixels()[:1], LENGTH)
    numbers = seen_by(video.image_net.layer2.conv2)
    together(pixels(), torch.tensor(CLIPS["even"]))
    assert numbers == [VIDEO + 5 * 2]


def test_equal_clips_are_answered_once():
    video = network(WHOLE["layer1"])
    together = OverlappingClips(video, pixels()[:1], LENGTH)
    numbers = seen_by(video.image_net.fc)
    together(pixels(), torch.tensor(CLIPS["a short video"]))
    assert numbers == [LENGTH]
    assert len(CLIPS["a short video"]) == 3


@pytest.mark.parametrize("reach", [(1, 1), (0, 0)], ids=str)
def test_no_more_frames_come_at_once_than_asked(reach):
    video, places = network(INSIDE[reach]), torch.tensor(CLIPS["sliding"])
    together = OverlappingClips(video, pixels()[:1], LENGTH, at_once=2)
    numbers = seen_by(video.image_net.layer1)
    torch.testing.assert_close(together(pixels(), places), alone(video, pixels(), places))
    assert max(numbers) <= 2 * LENGTH


def test_a_clip_alone_does_not_hang_on_the_others():
    """The law can fail: what is shared is not the answer of a longer clip."""
    video, places = network(INSIDE[3, 3]), torch.tensor(CLIPS["even"])
    one_pass = video.per_frame(pixels().transpose(0, 1)[None])[0][places].mean(dim=1)
    assert (one_pass - alone(video, pixels(), places)).abs().max() > 1e-3


# --- other networks ---


class Tokens(nn.Module):
    """Patches, and two branches that start at a norm and mix the 16 patches."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, 8)
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(2))
        self.mix, self.fc = nn.Linear(16, 16), nn.Linear(6, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        for norm in self.norms:
            x = x + self.mix(norm(x).transpose(1, 2)).transpose(1, 2).relu()
        return self.fc(x.amax(dim=1))


class Chain(nn.Module):
    """One ReLU behind each of four convolutions, and a pool in the head."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 5, 5, 3, bias=False) for i in range(4))
        self.relu, self.avgpool = nn.ReLU(inplace=True), nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(5, 4, bias=False)

    def forward(self, x):
        for conv in self.convs:
            x = self.relu(conv(x))
        return self.fc(self.avgpool(x).flatten(1))


@pytest.mark.parametrize("clips", CLIPS)
@pytest.mark.parametrize(
    ("build", "rules"),
    [
        (Tokens, (TokenConv(3) @ tokens,)),
        (Tokens, (TokenConv(3, causal=True, padding="zeros") @ tokens,)),
        (Chain, (Inflate(3) @ named("convs.2"),)),
        (Chain, (Inflate(3, causal=True) @ named("convs.1"), MeanOverTime() @ named("avgpool"))),
        (Chain, (MeanOverTime() @ named("avgpool"),)),
    ],
    ids=repr,
)
def test_other_networks_answer_alike(build, rules, clips):
    check(network(rules, build), torch.tensor(CLIPS[clips]))


@pytest.mark.parametrize(
    ("build", "rules", "end"),
    [
        (Tiny, (), End("", 0)),
        (Tiny, (Inflate(3) @ named("conv1"),), None),
        (Tiny, (Inflate(3) @ named("layer1.conv2"),), End("pool1", 0)),
        (Tiny, (Inflate(3) @ named("layer2.conv1"),), End("layer1", 0)),
        (Tiny, (Gate() @ named("layer2"),), End("layer1", 0)),
        (Chain, (Inflate(3) @ named("convs.2"),), End("relu", 1)),
        (Chain, (MeanOverTime() @ named("avgpool"),), End("relu", 3)),
        (Tokens, (TokenConv(3) @ tokens,), End("patches", 0)),
    ],
    ids=repr,
)
def test_the_prefix_ends_where_all_that_follows_hangs_on_one_answer(build, rules, end):
    assert Prefix(network(rules, build), pixels()[:1], 4).end == end


def test_a_network_that_cannot_run_without_numbers_shares_nothing_and_answers():
    video = network(INSIDE[1, 1])
    video.image_net.layer1.register_forward_pre_hook(lambda _, given: given[0].sum().item() and None)
    together = check(video, torch.tensor(CLIPS["even"]))
    assert "share nothing" in str(together)


def test_another_threads_forward_is_its_own():
    video, places = network(WHOLE["layer1"]), torch.tensor(CLIPS["even"])
    wanted, came = alone(video, pixels(), places), []
    together = OverlappingClips(video, pixels()[:1], LENGTH)

    def elsewhere(module, given):
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=lambda: came.append(alone(video, pixels(), places[:1])))
            other.start()
            other.join()

    video.image_net.conv1.register_forward_pre_hook(elsewhere)
    torch.testing.assert_close(together(pixels(), places), wanted)
    assert len(came) == 2  # beside the frames, and beside the clips
    torch.testing.assert_close(torch.cat(came), wanted[[0, 0]])


# --- the flat batch ---


@pytest.mark.parametrize("clips", ["even", "every second frame", "sliding"])
@pytest.mark.parametrize("reach", [Reach(0, 0), Reach(1, 2), Reach(3, 0)], ids=str)
def test_the_flat_batch_holds_every_clip_with_its_own_ends(clips, reach):
    places = torch.tensor(CLIPS[clips])
    flat = flat_batch(places, reach)
    assert torch.equal(flat.order[flat.places], places)
    inside = flat.places[:, reach.before : LENGTH - reach.behind]
    shared = sum(number * length for number, length in flat.runs)
    assert inside.max() < shared == len(places.unique())
    ends = torch.cat([flat.places[:, : reach.before], flat.places[:, LENGTH - reach.behind :]], dim=1)
    assert len(ends.unique()) == ends.numel()
    assert len(flat.order) == shared + ends.numel()


def test_there_is_no_flat_batch_where_it_saves_nothing_or_clips_step_differently():
    assert flat_batch(torch.tensor(CLIPS["even"]), Reach(5, 4)) is None
    assert flat_batch(torch.tensor(CLIPS["apart"]), Reach(0, 1)) is None
    assert flat_batch(torch.tensor(CLIPS["past the end"]), Reach(1, 1)) is None
    assert flat_batch(torch.tensor([[0, 1, 2, 3], [1, 3, 4, 5]]), Reach(0, 0)) is None
    assert flat_batch(torch.tensor([[0, 1, 0, 1], [0, 1, 0, 1]]), Reach(0, 0)) is None


# --- judging ---

CLIP = ClipFormat(frames=4, stride=2, short_side=32, size=24)
FLOW = ClipFormat(frames=3, stride=2, short_side=32, size=24, channels=2, stack=2)


@dataclass(frozen=True)
class Noise:
    """Frames that differ by video and index."""

    clip: ClipFormat

    def frames(self, video, indices):
        drawn = [np.random.default_rng([int(video.path), index]) for index in indices]
        return np.stack([rng.integers(0, 256, (32, 40, self.clip.channels), dtype=np.uint8) for rng in drawn])


def videos(*lengths):
    made = [Video(str(i), "ab"[i % 2], frames=count, status="ok") for i, count in enumerate(lengths)]
    return Manifest("/", tuple("abcde"), tuple(made))


def views_of(clip, crops="three", clips=5):
    recipe = Recipe(clip=clip, views=Views(clips=clips, crops=crops))
    return EvaluationClips(videos(20, 3, 60, 9), recipe, Noise(clip))


@pytest.mark.parametrize("clip_format", [CLIP, FLOW], ids=["frames", "stacks of flow"])
@pytest.mark.parametrize("crops", ["centre", "three", "ten"])
def test_a_data_set_gives_each_frame_of_its_views_once(crops, clip_format):
    there = views_of(clip_format, crops)
    for index in range(4):
        (views, label), (each, places, again) = there[index], there.overlapping(index)
        assert label == again
        together = each[:, places].transpose(0, 1).flatten(0, 1).transpose(1, 2)  # (V, C, T, H, W)
        assert torch.equal(together, views)
        firsts = {i for i, _ in enumerate(view_indices(there.manifest.videos[index], there.recipe))}
        assert (len(each[0]), len(places)) == (len(places.unique()), len(firsts))


def normalise(views):
    return views.double() / 255 - 0.5


@pytest.mark.parametrize("rules", [INSIDE[0, 0], INSIDE[1, 1], WHOLE["layer1"], (Recur("rcn", "random"),)])
@pytest.mark.parametrize("crops", ["centre", "three"])
def test_videos_are_judged_as_clip_by_clip(rules, crops):
    video, there = network(rules), views_of(CLIP, crops)
    told, options = [], {"normalise": normalise, "device": "cpu", "progress": lambda *done: told.append(done)}
    naive = evaluate(video, there, there.manifest, **options)
    together = sharing(video.float(), there.manifest, there.recipe)
    video.double()
    shared = evaluate(video, there, there.manifest, together=together, **options)
    np.testing.assert_allclose(shared.clip_logits, naive.clip_logits, rtol=1e-5, atol=1e-6)
    assert shared.clip_logits.shape == (4, 5 * (1 if crops == "centre" else 3), 5)
    assert told[:4] == told[4:]
    np.testing.assert_array_equal(shared.labels, naive.labels)
    assert (naive.clip_logits[0] - naive.clip_logits[2]).any()


def test_nothing_is_answered_together_where_no_clips_overlap():
    video, there = network(()), views_of(CLIP)
    assert sharing(video, videos(200), there.recipe) is None
    assert sharing(Tiny(), there.manifest, there.recipe) is None
    with pytest.raises(UsageError, match=r"list has no overlapping"):
        evaluate(
            video,
            [there[i] for i in range(4)],
            there.manifest,
            normalise=normalise,
            device="cpu",
            together=lambda frames, places: frames,
        )


def test_the_command_says_what_clips_share_and_scores_as_clip_by_clip(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    data, folder = write_videos(tmp_path / "videos", per_class=2, splits=("test",)), tmp_path / "run"
    clip_format = ClipFormat(frames=4, short_side=20, size=16, stride=2, mean=(0.4,) * 3, std=(0.2,) * 3)
    variant = f"{write_net(tmp_path)} Inflate(frames=3) @ first(1)"
    model = build_variant(parse_variant(variant), 2, 3, 4, 16)
    save(model, variant, ("left", "right"), clip_format, folder)
    assert run("evaluate", folder, data, "--clips", 5, "--output", tmp_path / "shared.npz") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "clips that overlap share all frames but each one's first 1 and last 1" in said
    monkeypatch.setattr("timelift.runs.judging.sharing", lambda *_: None)
    assert run("evaluate", folder, data, "--clips", 5, "--output", tmp_path / "alone.npz") == 0
    assert "clips that overlap" not in " ".join(capsys.readouterr().err.split())
    shared, naive = (read_predictions(tmp_path / f"{name}.npz").clip_logits for name in ("shared", "alone"))
    np.testing.assert_allclose(shared, naive, rtol=1e-5, atol=1e-6)
    assert shared.shape == (4, 5, 2)
