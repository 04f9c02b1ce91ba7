"""Streams: frame by frame, every causal network answers what it answers to the whole clip."""

import io

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import (
    AvgPool,
    Factorize,
    Framewise,
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
from timelift.clip import OnFrames
from timelift.conversions.past import advance, check_stream
from timelift.records.errors import UsageError
from timelift.testing import wake
from timelift.testing.layers import Gained, SamePadded, Standardised

PADDINGS = ("replicate", "zeros")
CAUSAL = [
    Framewise(),
    *(Recur(unit) for unit in ("rcn", "lstm", "gru")),
    Recur(halve=False),
    Inflate(1, padding="valid"),
    Factorize(1),
    *(Shift(every, causal=True, padding=padding) for every in (2, 3) for padding in PADDINGS),
    *(Inflate(frames, causal=True, padding=padding) for frames in (2, 3, 5) for padding in PADDINGS),
    *(Transform(3, causal=True, padding=padding) for padding in PADDINGS),
    *(
        Factorize(frames, order, causal=True, padding=padding)
        for frames in (2, 3)
        for order in ("series", "parallel", "both")
        for padding in PADDINGS
    ),
    Factorize(3, width="matched", between="norm-act", start="random", causal=True),
]
LAYERS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "strided": lambda: nn.Conv2d(4, 4, 5, stride=3, padding=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "same": lambda: SamePadded(4, 6, 3, stride=2),
    "standardised": lambda: Standardised(4, 6, 3, padding=1),
    "gained": lambda: Gained(4, 6, 3, padding=1),
}
PIECES = [(1,) * 7, (7,), (3, 1, 1, 2), (1, 4, 2)]
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


# --- advance: pieces of a clip ---


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("conversion", CAUSAL, ids=repr)
def test_pieces_of_a_clip_get_the_whole_clips_answer(conversion, layer):
    try:
        made = drawn(conversion(seeded(LAYERS[layer]).double()))
    except UsageError:
        assert (
            layer != "plain"
        )  # a width for plain convolutions alone, a map that parallel paths do not share
        return
    check_stream(made)
    moving = torch.randn(2, 4, 7, 9, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    whole = made(moving)
    for lengths in PIECES:
        state, answers = None, []
        for piece in moving.split(lengths, dim=2):
            answer, state = advance(made, piece, state)
            answers.append(answer.clone())
            answer.zero_()  # what a ReLU in place behind the layer does to its answer is not remembered
        torch.testing.assert_close(torch.cat(answers, dim=2), whole)


@pytest.mark.parametrize("conversion", [c for c in CAUSAL if c not in CAUSAL[:1]], ids=repr)
def test_the_past_is_not_a_view_of_what_came(conversion):
    made = drawn(conversion(seeded(LAYERS["plain"]).double()))
    moving = torch.randn(2, 4, 3, 9, 7, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    first = moving[:, :, :1].clone()
    _, state = advance(made, first, None)
    first.zero_()  # the layer before it may work in place, or use its memory again
    answer, _ = advance(made, moving[:, :, 1:], state)
    torch.testing.assert_close(answer, made(moving)[:, :, 1:])


@pytest.mark.parametrize("conversion", CAUSAL, ids=repr)
def test_a_past_holds_no_more_than_the_next_piece_needs(conversion):
    made = drawn(conversion(seeded(LAYERS["plain"]).double()))
    _, state = advance(made, torch.zeros(2, 4, 9, 9, 7, dtype=torch.float64), None)
    for tensor in tensors(state):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert tensor.dim() == 4 or tensor.shape[2] == conversion.frames - 1


def tensors(state):
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state or () for tensor in tensors(part)]


# --- Stream ---


@pytest.mark.parametrize("rules", RULES)
def test_a_stream_answers_what_the_network_answers_to_all_frames_so_far(rules):
    video, moving = causal(RULES[rules]), clip(6).double()
    stream = Stream(video)
    assert stream.delay == 0
    each = video.per_frame(moving)
    for t, answer in enumerate(stepped(stream, moving)):
        assert answer.frames_seen == t + 1
        assert not answer.clip_logits.requires_grad
        torch.testing.assert_close(answer.frame_logits, each[:, t])
        torch.testing.assert_close(answer.clip_logits, video(moving[:, :, : t + 1]))


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


def test_a_stream_that_was_saved_goes_on_in_another():
    video, moving = causal(RULES["gru"]), clip(6).double()
    whole = stepped(Stream(video), moving)
    first, second, file = Stream(video), Stream(video), io.BytesIO()
    stepped(first, moving[:, :, :3])
    torch.save(first.state_dict(), file)
    stepped(first, moving[:, :, :2])  # what was saved is no part of the stream any more
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for answer, wanted in zip(stepped(second, moving[:, :, 3:]), whole[3:], strict=True):
        torch.testing.assert_close(answer.clip_logits, wanted.clip_logits)
        torch.testing.assert_close(answer.frame_logits, wanted.frame_logits)
        assert answer.frames_seen == wanted.frames_seen


def test_a_state_taken_out_does_not_change_with_the_steps_after_it():
    video, moving = causal(RULES["inflate"]), clip(5).double()
    stream = Stream(video)
    stepped(stream, moving[:, :, :2])
    kept = stream.state_dict()
    once = stepped(stream, moving[:, :, 2:])
    stream.load_state_dict(kept)
    again = stepped(stream, moving[:, :, 2:])
    assert torch.equal(once[-1].clip_logits, again[-1].clip_logits)


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


def test_two_streams_through_one_network_do_not_mix():
    video, one, other = causal(RULES["inflate"]), clip(4).double(), clip(4, clips=1, seed=9).double()
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


def test_a_layer_that_runs_twice_has_two_pasts():
    video = drawn(lift(wake(seeded(Again), frames()), Inflate(3, causal=True)), 0.3)
    moving = clip(4, side=9).double()
    assert len(Stream(video).state_dict()["layers"]) == 0
    torch.testing.assert_close(stepped(Stream(video), moving)[-1].clip_logits, video(moving))


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


def test_a_step_that_fails_leaves_the_stream_as_it_was():
    video = causal((Inflate(3, causal=True) @ named("conv1"), Fading @ named("layer2.conv2")))
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
        ((Inflate(3) @ named("layer1.conv2"),), r"layer1\.conv2 sees frames behind its own.*causal=True"),
        ((Transform(3),), r"conv1 sees frames behind"),
        ((Factorize(),), r"conv1 sees frames behind"),
        ((Factorize(between="norm-act") @ named("layer2.conv1"),), r"layer2\.conv1 sees frames behind"),
        ((Shift(4) @ named("layer2.conv1"),), r"layer2\.conv1 shifts channels from the next frame"),
        ((Inflate(3, causal=True, stride="spatial") @ every,), r"conv1 has temporal stride 2"),
        ((Factorize(3, causal=True, padding="valid") @ named("conv1"),), r"conv1 answers fewer frames"),
        ((MaxPool(2) @ named("pool1"),), r"pool1 is a TemporalMaxPool on clips without advance"),
        ((AvgPool(2, 1) @ named("pool1"),), r"pool1 is a TemporalAvgPool on clips without advance"),
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
    with pytest.raises(UsageError, match="norm looks ahead"):
        Stream(lift(net, TokenConv() @ tokens).eval())
    video = drawn(lift(net, TokenConv(causal=True) @ tokens), 0.3)
    moving = clip(5).double()
    for t, answer in enumerate(stepped(Stream(video), moving)):
        torch.testing.assert_close(answer.clip_logits, video(moving[:, :, : t + 1]))
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
