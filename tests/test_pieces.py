"""Pieces of a clip: every layer through time, piece by piece, answers what it answers to the clip."""

import pytest
import torch
from torch import nn

from heart_tiny import seeded
from timelift import AvgPool, Factorize, Framewise, Gate, Inflate, MaxPool, Recur, Shift, TokenConv, Transform
from timelift.conversions.past import NotYet, advance, look_ahead, revise
from timelift.conversions.pool import TemporalSubsample
from timelift.networks.lstm import ClipLSTM
from timelift.records.errors import UsageError
from timelift.systems.compose import TimeMean
from timelift.testing.layers import Gained, SamePadded, Standardised

AROUND = ("replicate", "zeros")
POOLS = (MaxPool, AvgPool)
ADVANCING = [
    Framewise(),
    *(Recur(unit) for unit in ("rcn", "lstm", "gru")),
    Recur(halve=False),
    Inflate(1, padding="valid"),
    Factorize(1),
    Gate(causal=True),
    *(Shift(every, causal=True, padding=padding) for every in (2, 3) for padding in AROUND),
    *(Inflate(frames, causal=True, padding=padding) for frames in (2, 3, 5) for padding in AROUND),
    *(Inflate(3, causal=True, padding=p, stride="spatial") for p in (*AROUND, "valid")),
    *(Inflate(frames, padding="valid", stride=stride) for frames in (2, 4) for stride in ("none", "spatial")),
    *(Transform(3, causal=True, padding=padding, stride="spatial") for padding in AROUND),
    *(
        Factorize(frames, order, causal=True, padding=padding, stride=stride)
        for frames in (2, 3)
        for order in ("series", "parallel", "both")
        for padding in (*AROUND, "valid")
        for stride in ("none", "spatial")
    ),
    Factorize(3, "both", padding="valid"),
    Factorize(3, width="matched", between="norm-act", start="random", causal=True),
    *(
        pool(frames, stride, padding, causal=True)
        for pool in POOLS
        for frames in (1, 2, 3)
        for stride in (1, 2, 5)
        for padding in ("same", "replicate", "valid")
    ),
    *(pool(3, 2, "valid") for pool in POOLS),
]
AHEAD = [
    *(Inflate(frames, padding=padding) for frames in (2, 3, 6) for padding in (*AROUND, "same")),
    *(Transform(3, padding=padding) for padding in AROUND),
    *(Factorize(3, order, padding=p) for order in ("series", "parallel", "both") for p in (*AROUND, "same")),
    *(Shift(2, padding=padding) for padding in AROUND),
    *(
        pool(frames, 1, padding)
        for pool in POOLS
        for frames in (2, 3, 4)
        for padding in ("same", "replicate")
    ),
]
LAYERS = {
    "plain": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "strided": lambda: nn.Conv2d(4, 4, 5, stride=3, padding=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "same": lambda: SamePadded(4, 6, 3, stride=2),
    "standardised": lambda: Standardised(4, 6, 3, padding=1),
    "gained": lambda: Gained(4, 6, 3, padding=1),
}
ON_ANY = [name for name in LAYERS if name not in ("plain", "strided")]  # a pool sees the layer's answer alone
PIECES = [(1,) * 7, (7,), (3, 1, 1, 2), (1, 4, 2)]


def drawn(module):
    """The module with something random added to every parameter: an identity start hides a leak."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=parameter[0].numel() ** -0.5 if parameter.dim() else 1.0)
    return module.eval()


def clip(length=7, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, length, 9, 7, generator=generator, dtype=torch.float64)


def in_pieces(module, moving, lengths):
    """The answers to pieces, one after another; a piece that is too short comes again with the next."""
    state, waiting, answers = None, moving[:, :, :0], []
    for piece in moving.split(lengths, dim=2):
        waiting = torch.cat([waiting, piece], dim=2)
        try:
            answer, state = advance(module, waiting, state)
        except NotYet:
            continue
        waiting = moving[:, :, :0]
        answers.append(answer.clone())
        answer.zero_()  # what a ReLU in place behind the layer does to its answer is not remembered
    return answers


def on_layers(conversions):
    pairs = [
        (c, name) for c in conversions for name in LAYERS if not (isinstance(c, POOLS) and name in ON_ANY)
    ]
    return pytest.mark.parametrize(("conversion", "layer"), pairs, ids=str)


@on_layers(ADVANCING)
def test_pieces_of_a_clip_get_the_whole_clips_answer(conversion, layer):
    try:
        made = drawn(conversion(seeded(LAYERS[layer]).double()))
    except UsageError:
        assert (
            layer != "plain"
        )  # a width for plain convolutions alone, a map that parallel paths do not share
        return
    assert look_ahead(made) == 0
    moving = clip()
    whole = made(moving)
    for lengths in PIECES:
        torch.testing.assert_close(torch.cat(in_pieces(made, moving, lengths), dim=2), whole)


def test_frames_that_pass_a_long_stride_are_counted():
    for module in (TemporalSubsample(3), drawn(AvgPool(2, 5, "valid")(nn.Identity()))):
        moving = clip(17)
        for lengths in ([1] * 17, [2] * 8 + [1], [7, 7, 3], [4, 1, 1, 1, 1, 9]):
            torch.testing.assert_close(torch.cat(in_pieces(module, moving, lengths), dim=2), module(moving))


def test_an_lstm_over_frames_goes_on():
    lstm, moving = drawn(ClipLSTM(4 * 9 * 7, 5).double()), clip()
    for lengths in PIECES:
        torch.testing.assert_close(torch.cat(in_pieces(lstm, moving, lengths), dim=2), lstm(moving))


def test_a_mean_over_time_is_that_of_all_frames_so_far():
    moving = clip()
    for lengths in PIECES:
        seen = 0
        for answer, piece in zip(in_pieces(TimeMean(), moving, lengths), lengths, strict=True):
            seen += piece
            torch.testing.assert_close(answer, moving[:, :, :seen].mean(dim=2, keepdim=True))


@pytest.mark.parametrize("conversion", ADVANCING[1:], ids=repr)
def test_the_past_is_not_a_view_of_what_came(conversion):
    made = drawn(conversion(seeded(LAYERS["plain"]).double()))
    moving = clip(9)
    begun = moving[:, :, :5].clone()
    first, state = advance(made, begun, None)
    begun.zero_()  # the layer before it may work in place, or use its memory again
    answer, _ = advance(made, moving[:, :, 5:], state)
    torch.testing.assert_close(answer, made(moving)[:, :, first.shape[2] :])


@pytest.mark.parametrize("conversion", ADVANCING, ids=repr)
def test_a_past_holds_no_more_than_the_next_piece_needs(conversion):
    made = drawn(conversion(seeded(LAYERS["plain"]).double()))
    _, state = advance(made, clip(9), None)
    for tensor in tensors(state):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert tensor.dim() < 5 or tensor.shape[2] <= conversion.frames - 1


def tensors(state):
    if isinstance(state, torch.Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors(part)] if isinstance(state, tuple) else []


# --- answers that look ahead ---


def revised(module, moving, ahead):
    """After every frame: the answers to it and to the `ahead` before it, which come again."""
    state = None
    for t in range(moving.shape[2]):
        start = max(0, t - ahead)
        piece = moving[:, :, start : t + 1].clone()
        answer, state = revise(module, piece, state, max(0, piece.shape[2] - ahead))
        yield start, t + 1, answer.clone()
        piece.zero_(), answer.zero_()


@on_layers(AHEAD)
def test_the_last_frames_are_answered_as_the_end_of_the_clip_so_far(conversion, layer):
    try:
        made = drawn(conversion(seeded(LAYERS[layer]).double()))
    except UsageError:
        assert layer != "plain"
        return
    ahead = look_ahead(made)
    assert ahead == (1 if isinstance(conversion, Shift) else conversion.frames // 2)
    for more in (0, 2):  # of layers behind this one
        for start, end, answer in revised(made, clip(), ahead + more):
            torch.testing.assert_close(answer, made(clip()[:, :, :end])[:, :, start:])


@pytest.mark.parametrize(
    "conversion",
    [Recur("gru", "random"), Inflate(3, causal=True), Shift(2, causal=True), Gate(causal=True)],
    ids=repr,
)
def test_a_layer_that_does_not_look_ahead_goes_with_those_that_do(conversion):
    made = drawn(conversion(seeded(LAYERS["plain"]).double()))
    assert look_ahead(made) == 0
    for start, end, answer in revised(made, clip(), 2):
        torch.testing.assert_close(answer, made(clip()[:, :, :end])[:, :, start:])


def test_tokens_that_look_ahead():
    made = drawn(TokenConv(3)(nn.LayerNorm(6)).double())
    moving, state = (
        torch.randn(2, 5, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
        None,
    )
    assert look_ahead(made) == 1
    for t in range(5):
        piece = moving[:, max(0, t - 1) : t + 1]
        answer, state = revise(made, piece, state, piece.shape[1] - 1, time=1)
        torch.testing.assert_close(answer, made(moving[:, : t + 1])[:, max(0, t - 1) :])


@pytest.mark.parametrize("conversion", [c for c in AHEAD if not isinstance(c, Shift)], ids=repr)
def test_no_answer_is_for_good_that_looks_ahead(conversion):
    made = conversion(seeded(LAYERS["depthwise"]).double())
    with pytest.raises(UsageError, match="sees frames behind its own"):
        advance(made, clip(), None)
