"""Streams: frame by frame, a network answers what it answers to the whole clip so far."""

import io

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import (
    AvgPool,
    Factorize,
    Gate,
    Inflate,
    MaxPool,
    Recur,
    Shift,
    Stream,
    TokenConv,
    Transform,
    create_model,
    every,
    image_network,
    lift,
    named,
    tokens,
)
from timelift.clip import ClipBatch, OnFrames
from timelift.conversions import ClipTooShort
from timelift.records.errors import UsageError
from timelift.systems.over_time import MeanOverTime
from timelift.testing import wake

RULES = {
    "none": (),
    "recur": (Recur("rcn", "random"),),
    "lstm": (Recur("lstm", "random"),),
    "gru": (Recur("gru", "random"),),
    "inflate": (Inflate(3, causal=True),),
    "inflate zeros": (Inflate(2, causal=True, padding="zeros"),),
    "series": (Factorize(3, causal=True, start="random"),),
    "behind norm-act": (Factorize(3, between="norm-act", causal=True) @ named("*conv1"),),
    "parallel and shift": (
        Factorize(2, "parallel", causal=True) @ named("layer1.conv?"),
        Shift(4, causal=True) @ named("layer2.conv?"),
    ),
    "gates": (Gate(causal=True) @ named("layer?"), Inflate(2, causal=True)),
    "pools": (MaxPool(3, 1, causal=True) @ named("pool1"), AvgPool(2, 1, causal=True) @ named("layer1")),
}
STRIDED = {  # an answer every so many frames
    2: (MaxPool(2, causal=True) @ named("pool1"), Inflate(3, causal=True) @ named("layer?.conv1")),
    3: (
        AvgPool(2, 3, "replicate", causal=True) @ named("conv1"),
        Recur("gru", "random") @ named("layer1.conv2"),
    ),
    4: (Inflate(3, causal=True, stride="spatial"),),
    8: (
        Factorize(2, "both", causal=True, start="random", stride="spatial"),
        AvgPool(2, causal=True) @ named("pool1"),
    ),
}
UNPADDED = {  # frames up to the first answer, and between two
    (3, 1): (Inflate(3, causal=True, padding="valid") @ named("conv1"),),
    (6, 1): (Inflate(4, padding="valid") @ named("conv1"), AvgPool(3, 1, "valid") @ named("pool1")),
    (5, 2): (Inflate(4, padding="valid") @ named("conv1"), MaxPool(2, padding="valid") @ named("pool1")),
}
AHEAD = {  # frames that every step works on again
    1: (Inflate(3) @ named("conv1"), Recur("lstm", "random") @ named("layer?.conv1")),
    2: (Shift(4) @ named("layer2.conv?"), Inflate(2, causal=True) @ named("layer1.conv?")),
    3: (MaxPool(3, 1) @ named("pool1"), Factorize(3, "both", start="random") @ named("layer2.conv?")),
    6: (Inflate(4, padding="same") @ named("conv1"), Inflate(3, padding="zeros") @ named("layer?.conv?")),
}


def drawn(module, scale=1.0):
    """The module with something random added to every parameter: an identity start hides a leak."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=scale * parameter[0].numel() ** -0.5 if parameter.dim() else scale)
    return module.eval()


def causal(rules, consensus=None):
    options = {} if consensus is None else {"consensus": consensus}
    return drawn(lift(wake(seeded(Tiny), frames()), *rules, **options), 0.3)


def stepped(stream, moving):
    return [stream.step(frame) for frame in moving.unbind(2)]


def answer_of(video, moving):
    """The network's answer to the clip; None if it is too short."""
    try:
        return video(moving)
    except ClipTooShort:
        return None


def check(stream, moving):
    """The law: after every frame, what the network answers to all frames so far."""
    for t, answer in enumerate(stepped(stream, moving)):
        wanted = answer_of(stream.video, moving[:, :, : t + 1])
        assert answer.frames_seen == t + 1
        if wanted is None:
            assert answer.clip_logits is None
            assert answer.frame_logits is None
            continue
        assert not answer.clip_logits.requires_grad
        torch.testing.assert_close(answer.clip_logits, wanted)
        torch.testing.assert_close(answer.frame_logits, stream.video.per_frame(moving[:, :, : t + 1])[:, -1])


@pytest.mark.parametrize("rules", RULES)
def test_a_stream_answers_what_the_network_answers_to_all_frames_so_far(rules):
    video = causal(RULES[rules])
    stream = Stream(video)
    assert (stream.delay, stream.look_ahead) == (0, 0)
    check(stream, clip(6).double())


def worked_on(video):
    """The numbers of frames that the network gets, from here on."""
    seen = []
    video.image_net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    return seen


@pytest.mark.parametrize("every_so_many", STRIDED)
def test_where_time_is_strided_frames_wait_for_the_next_answer(every_so_many):
    video = causal(STRIDED[every_so_many])
    stream, moving = Stream(video), clip(2 * every_so_many + 2, clips=1).double()
    assert (stream.delay, stream.look_ahead) == (0, 0)
    check(stream, moving)
    stream.reset()
    worked = worked_on(video)
    answers = stepped(stream, moving)
    assert worked == [1, every_so_many, every_so_many]
    changes = [t for t in range(1, len(answers)) if answers[t].clip_logits is not answers[t - 1].clip_logits]
    assert changes == [every_so_many, 2 * every_so_many]


@pytest.mark.parametrize("rhythm", UNPADDED, ids=str)
def test_without_padding_the_first_answer_has_a_delay(rhythm):
    first, later = rhythm
    video = causal(UNPADDED[rhythm])
    stream = Stream(video)
    assert stream.delay == first - 1
    check(stream, clip(first + 2 * later, clips=1).double())
    stream.reset()
    worked = worked_on(video)
    stepped(stream, clip(first + 2 * later, clips=1).double())
    assert worked == [first, later, later]


@pytest.mark.parametrize("ahead", AHEAD)
def test_answers_that_look_ahead_are_made_again_with_the_frame_that_comes(ahead):
    video = causal(AHEAD[ahead])
    stream = Stream(video)
    assert (stream.delay, stream.look_ahead) == (0, ahead)
    check(stream, clip(ahead + 4).double())
    stream.reset()
    worked = worked_on(video)
    stepped(stream, clip(9, clips=1).double())
    assert worked == [min(t, ahead) + 1 for t in range(9)]


def test_a_network_that_cannot_run_without_numbers_waits_by_trying():
    video = causal(STRIDED[3])
    video.image_net.layer1.register_forward_pre_hook(lambda _, given: given[0].sum().item() and None)
    check(Stream(video), clip(8).double())
    unpadded = causal(UNPADDED[5, 2])
    unpadded.image_net.layer1.register_forward_pre_hook(lambda _, given: given[0].sum().item() and None)
    stream = Stream(unpadded)
    with pytest.raises(UsageError, match=r"step\(\) once"):
        assert stream.delay
    check(stream, clip(9).double())


class Pooled(nn.Module):
    """A head that can pool time, with what is not linear behind it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.avgpool(self.conv(x)).flatten(1).tanh())


@pytest.mark.parametrize(
    "rule", [Inflate(3, causal=True), AvgPool(2, causal=True) @ named("conv"), Inflate(3)]
)
def test_a_head_that_averages_the_clip_answers_for_all_frames(rule):
    video = drawn(lift(wake(seeded(Pooled), frames()), rule, MeanOverTime() @ named("avgpool")))
    check(Stream(video), clip(7, side=9).double())


def test_frames_to_come_do_not_change_what_was_answered_and_those_before_do():
    for rules in RULES.values():
        video, moving = causal(rules), clip(5).double()
        before = video.per_frame(moving)
        moving[:, :, 3:] += 1
        after = video.per_frame(moving)
        torch.testing.assert_close(after[:, :3], before[:, :3], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(after[:, 3], before[:, 3])
    leaking = causal((Inflate(3),))
    changed = clip(5).double()
    changed[:, :, 3:] += 1
    assert not torch.allclose(leaking.per_frame(changed)[:, :3], leaking.per_frame(clip(5).double())[:, :3])


def last(logits):
    return logits[:, -1]


def largest(logits):
    return logits.amax(dim=1)


@pytest.mark.parametrize("consensus", [last, largest])
def test_any_consensus_is_that_of_all_frames(consensus):
    video, moving = causal(RULES["recur"], consensus), clip(5).double()
    for t, answer in enumerate(stepped(Stream(video), moving)):
        torch.testing.assert_close(answer.clip_logits, video(moving[:, :, : t + 1]))


def test_the_mean_of_a_long_stream_of_half_precision_does_not_stall():
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return (self.conv(x) * 0 + x).flatten(1)

    stream = Stream(lift(Answers(), example=torch.zeros(1, 1, 2, 2)).bfloat16().eval())
    for i in range(2000):
        answer = stream.step(torch.full((1, 1, 2, 2), float(i >= 1000), dtype=torch.bfloat16))
    assert answer.clip_logits.dtype == torch.bfloat16
    assert abs(float(answer.clip_logits.mean()) - 0.5) < 0.01


OF_EACH_KIND = {"gru": RULES["gru"], "gates": RULES["gates"], "strided": STRIDED[4], "ahead": AHEAD[3]}


@pytest.mark.parametrize("rules", OF_EACH_KIND)
def test_a_stream_that_was_saved_goes_on_in_another(rules):
    video, moving = causal(OF_EACH_KIND[rules]), clip(6).double()
    whole = stepped(Stream(video), moving)
    first, second, file = Stream(video), Stream(video), io.BytesIO()
    stepped(first, moving[:, :, :3])
    torch.save(first.state_dict(), file)
    stepped(first, moving[:, :, :2])  # what was saved is no part of the stream any more
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.state_dict()["frames_seen"] == 3
    for answer, wanted in zip(stepped(second, moving[:, :, 3:]), whole[3:], strict=True):
        torch.testing.assert_close(answer.clip_logits, wanted.clip_logits)
        torch.testing.assert_close(answer.frame_logits, wanted.frame_logits)
        assert answer.frames_seen == wanted.frames_seen


def test_a_state_taken_out_does_not_change_with_the_steps_after_it():
    video, moving = causal(RULES["inflate"]), clip(5).double()
    stream = Stream(video)
    stepped(stream, moving[:, :, :2])
    kept = stream.state_dict()
    stream.state_dict()["layers"].clear()
    once = stepped(stream, moving[:, :, 2:])
    stream.load_state_dict(kept)
    again = stepped(stream, moving[:, :, 2:])
    assert torch.equal(once[-1].clip_logits, again[-1].clip_logits)
    assert torch.equal(once[-1].clip_logits, stepped(Stream(video), moving)[-1].clip_logits)


def damaged(state):
    if isinstance(state, torch.Tensor):
        return state + 1
    return tuple(damaged(part) for part in state) if isinstance(state, tuple) else state


@pytest.mark.parametrize("rules", [name for name in RULES if name != "none"])
def test_damaging_any_layers_state_moves_the_answer(rules):
    video, moving = causal(RULES[rules]), clip(3).double()
    stream = Stream(video)
    stepped(stream, moving[:, :, :2])
    kept = stream.state_dict()
    wanted = stream.step(moving[:, :, 2]).frame_logits
    assert len(kept["layers"]) == len(video.receipt.converted)
    for key, state in kept["layers"].items():
        stream.load_state_dict(kept | {"layers": kept["layers"] | {key: damaged(state)}})
        assert (stream.step(moving[:, :, 2]).frame_logits - wanted).abs().max() > 1e-6, key


def test_after_a_reset_another_video_begins():
    video, stream = causal(RULES["recur"]), None
    stream = Stream(video)
    fresh = stream.step(clip(1).double()[:, :, 0])
    stepped(stream, clip(3, seed=4).double())
    stream.reset()
    other = clip(1, clips=3).double()[:2, :, 0]
    assert stream.step(other).frames_seen == 1
    stream.reset()
    again = stream.step(clip(1).double()[:, :, 0])
    assert torch.equal(again.clip_logits, fresh.clip_logits)


@pytest.mark.parametrize("rules", OF_EACH_KIND)
def test_the_frame_that_came_may_be_written_over(rules):
    video, moving = causal(OF_EACH_KIND[rules]), clip(6).double()
    wanted = stepped(Stream(video), moving)[-1].clip_logits
    stream, place = Stream(video), torch.empty_like(moving[:, :, 0])
    for frame in moving.unbind(2):
        answer = stream.step(place.copy_(frame))
        place.zero_()
    assert torch.equal(answer.clip_logits, wanted)


@pytest.mark.parametrize("rules", OF_EACH_KIND)
def test_two_streams_through_one_network_do_not_mix(rules):
    video, one, other = causal(OF_EACH_KIND[rules]), clip(4).double(), clip(4, clips=1, seed=9).double()
    first, second = Stream(video), Stream(video)
    for t in range(4):
        a, b = first.step(one[:, :, t]), second.step(other[:, :, t])
        torch.testing.assert_close(video(one[:, :, : t + 1]), a.clip_logits)  # between steps, as ever
    torch.testing.assert_close(b.clip_logits, video(other))


class Again(nn.Module):
    """One convolution that runs twice: its two runs have two pasts."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.twice(self.twice(self.stem(x)).relu()).amax((2, 3)))


@pytest.mark.parametrize("ahead", [False, True])
def test_a_layer_that_runs_twice_has_two_pasts(ahead):
    video = drawn(lift(wake(seeded(Again), frames()), Inflate(3, causal=not ahead)), 0.3)
    stream = Stream(video)
    check(stream, clip(7, side=9).double())
    assert len(stream.state_dict()["layers"]) == 3
    assert stream.look_ahead == 3 * ahead


class Fading(nn.Module):
    """A user's own: half of the last answer remains."""

    def __init__(self, layer, fail=False):
        super().__init__()
        self.layer, self.fail = OnFrames(layer), False

    def forward(self, clip):
        return self.advance(clip, None)[0]

    def advance(self, clip, state):
        if self.fail:
            raise RuntimeError("out of memory")
        answers = []
        for frame in self.layer(clip).unbind(2):
            state = frame if state is None else frame + state / 2
            answers.append(state)
        return torch.stack(answers, dim=2), state


def test_a_users_own_conversion_streams_by_its_advance():
    video = causal((Fading @ named("layer1.conv1"), Inflate(2, causal=True)))
    moving = clip(4).double()
    torch.testing.assert_close(stepped(Stream(video), moving)[-1].clip_logits, video(moving))


@pytest.mark.parametrize("ahead", [False, True])
def test_a_step_that_fails_leaves_the_stream_as_it_was(ahead):
    video = causal((Inflate(3, causal=not ahead) @ named("conv1"), Fading @ named("layer2.conv2")))
    stream, moving = Stream(video), clip(4).double()
    stepped(stream, moving[:, :, :2])
    fading = video.image_net.layer2.conv2.on_clips
    fading.fail = True
    with pytest.raises(RuntimeError, match="out of memory"):
        stream.step(moving[:, :, 2])
    fading.fail = False
    torch.testing.assert_close(stepped(stream, moving[:, :, 2:])[-1].clip_logits, video(moving))


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ((Inflate(3, stride="spatial"),), r"conv1 sees frames behind its own and has temporal stride 2"),
        ((MaxPool(2) @ named("pool1"),), r"pool1 sees frames behind its own and has temporal stride 2"),
        (
            (Transform(3) @ named("layer2.conv1"), MaxPool(2, causal=True) @ named("pool1")),
            r"layer2\.conv1 sees frames behind its own, and pool1 changes the number of frames",
        ),
        (
            (Shift(4) @ named("layer2.conv1"), Inflate(2, padding="valid") @ named("conv1")),
            r"layer2\.conv1 sees frames behind its own, and conv1 changes",
        ),
        ((Gate() @ named("layer1"),), r"layer1 is a SelfGate on clips without advance"),
        (((lambda layer: nn.Sequential(OnFrames(layer), nn.ReLU())) @ named("conv1"),), r"conv1 is a ReLU"),
    ],
)
def test_a_layer_that_cannot_stream_is_named(rules, words):
    with pytest.raises(UsageError, match=f"no stream through this network: {words}"):
        Stream(causal(rules))


class Tokens(nn.Module):
    """Patches, a norm and a mixing of the 16 patches: a network on tokens (N, 16, 6)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 8, 8)
        self.norm = nn.LayerNorm(6)
        self.mix, self.fc = nn.Linear(16, 16), nn.Linear(6, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.mix(self.norm(x).transpose(1, 2)).transpose(1, 2).relu()
        return self.fc(x.amax(dim=1))


def test_a_network_on_tokens_streams():
    net = wake(seeded(Tokens), frames())
    check(Stream(drawn(lift(net, TokenConv() @ tokens), 0.3)), clip(5).double())
    video = drawn(lift(net, TokenConv(causal=True) @ tokens), 0.3)
    moving = clip(5).double()
    check(Stream(video), moving)
    answer = stepped(Stream(video), moving)[-1]
    assert not torch.allclose(answer.frame_logits, Stream(video).step(moving[:, :, 4]).frame_logits)


def test_frames_and_networks_that_do_not_fit_are_named():
    with pytest.raises(UsageError, match=r"VideoModel.*a Tiny came"):
        Stream(Tiny())
    with pytest.raises(UsageError, match=r"train mode.*video\.eval\(\)"):
        Stream(causal(()).train())
    stream = Stream(causal(RULES["recur"]))
    with pytest.raises(UsageError, match=r"a frame is \(B, C, H, W\).*\(2, 3, 1, 32, 32\)"):
        stream.step(clip(1).double())
    stream.step(clip(1).double()[:, :, 0])
    with pytest.raises(UsageError, match=r"\(1, 3, 32, 32\), those before it \(2, 3, 32, 32\): reset"):
        stream.step(clip(1, clips=1).double()[:, :, 0])
    stream.video.train()
    with pytest.raises(UsageError, match="train mode"):
        stream.step(clip(1).double()[:, :, 0])


def test_the_state_of_another_network_is_refused():
    one, other = Stream(causal(RULES["recur"])), Stream(causal(RULES["parallel and shift"]))
    stepped(one, clip(2).double())
    with pytest.raises(UsageError, match=r"another network's stream: image_net\.conv1"):
        other.load_state_dict(one.state_dict())
    with pytest.raises(UsageError, match="no stream's state: it holds weight"):
        one.load_state_dict({"weight": torch.ones(1)})
    one.load_state_dict(Stream(one.video).state_dict())  # of a beginning
    assert one.step(clip(1).double()[:, :, 0]).frames_seen == 1


@pytest.mark.parametrize("name", ["rcn_18", "rcgru_18"])
def test_recurrent_networks_stream_clips_of_any_length(name):
    video = create_model(name, classes=3, start="random").eval()
    for length in (1, 3):
        moving = clip(length, clips=1)
        answer = stepped(Stream(video), moving)[-1]
        torch.testing.assert_close(answer.clip_logits, video(moving), rtol=1e-4, atol=1e-4)


def on_frames(name):
    return image_network(name, classes=5, weights=None)


MATCHED = Factorize(3, "series", "matched", "norm-act", "random", causal=True, stride="spatial")
LONG = {
    "rcn_18": lambda: create_model("rcn_18", classes=5, start="random"),
    "inflated resnet18": lambda: lift(on_frames("timm:resnet18"), Inflate(3, "random", causal=True)),
    "r2plus1d_18": lambda: lift(on_frames("timm:resnet18"), MATCHED),
    "shifted lite0": lambda: lift(
        on_frames("timm:tf_efficientnet_lite0"), Shift(8, causal=True) @ named("blocks*.conv_dw")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_stream_of_two_hundred_frames_stays_with_the_clip(name):
    video, moving = seeded(LONG[name]), clip(200, clips=1, side=48)
    with ClipBatch(1):
        video.image_net = wake(video.image_net, frames(4, side=48)).float()
    video.eval()
    with torch.inference_mode():
        each = video.per_frame(moving)  # (1, T_out, K)
    strides = -(-200 // each.shape[1])
    largest_answer = each.abs().max()
    for t, answer in enumerate(stepped(Stream(video), moving)):
        now = t // strides + 1
        assert (answer.frame_logits - each[:, now - 1]).abs().max() < 1e-4 * largest_answer
        assert (answer.clip_logits - each[:, :now].mean(dim=1)).abs().max() < 1e-4 * largest_answer
    assert (each[:, 1:] - each[:, :-1]).abs().max() > 1e-2 * largest_answer
    shorter = video.per_frame(moving[:, :, -strides:])[:, -1]
    assert (each[:, -1] - shorter).abs().max() > 1e-2 * largest_answer  # what came before is felt


@pytest.mark.slow
@pytest.mark.parametrize("rules", ["recur", "inflate", "behind norm-act", "lstm"])
def test_a_mobile_network_streams(rules):
    net = wake(image_network("timm:mobilenetv3_small_050", classes=4, weights=None), frames(4, side=64))
    rule = RULES[rules][0]
    place = named("blocks*.conv_dw") if rules == "behind norm-act" else every
    video = drawn(lift(net, getattr(rule, "conversion", rule) @ place), 0.1)
    moving = clip(5, side=64).double()
    for t, answer in enumerate(stepped(Stream(video), moving)):
        torch.testing.assert_close(answer.clip_logits, video(moving[:, :, : t + 1]))
