"""Every conversion keeps its laws, and is what PyTorch's own 3-D operators compute."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from timelift import (
    AvgPool,
    ConversionError,
    Factorize,
    Framewise,
    Inflate,
    MaxPool,
    Transform,
    check_conversion,
)
from timelift.clip import OnFrames
from timelift.conversions import ClipTooShort
from timelift.conversions.factorize import midplanes
from timelift.conversions.inflate import slice_factors
from timelift.conversions.padding import amounts
from timelift.conversions.temporal import TemporalConv
from timelift.testing import LawBroken
from timelift.testing.layers import Gained, SamePadded, Standardised, cases

PADDINGS = ("replicate", "zeros", "same", "valid")
STARTS = ("average", "scale", "zero", "negative", "center", "random")


def _generator():
    return torch.Generator().manual_seed(0)


def _allowed(**fields):
    return not (fields["causal"] and fields["padding"] == "same")


EVERY_INFLATE = [
    Inflate(frames, start, at=frames - 1 if frames == 2 else 0, causal=causal, padding=padding, stride=stride)
    for start, padding, causal, stride, frames in itertools.product(
        STARTS, PADDINGS, (False, True), ("none", "spatial"), (1, 2, 3, 5)
    )
    if _allowed(causal=causal, padding=padding)
]
EVERY_FACTORIZE = [
    Factorize(frames, order, width, between, start, causal, padding, stride)
    for frames, order, width, between, start, causal, padding, stride in itertools.product(
        (2, 3),
        ("series", "parallel", "both"),
        ("same", "matched"),
        ("none", "norm-act"),
        ("identity", "random"),
        (False, True),
        PADDINGS,
        ("none", "spatial"),
    )
    if _allowed(causal=causal, padding=padding)
    and (width == "same" or (start == "random" and order == "series"))
    and (between == "none" or (start == "random" and order == "series"))
]
EVERY_POOL = [
    pool(frames, stride, padding, causal)
    for pool in (MaxPool, AvgPool)
    for frames, stride in ((1, 1), (2, None), (3, 1), (3, 2))
    for padding in ("same", "replicate", "valid")
    for causal in (False, True)
]
FEW = [
    Framewise(),
    Inflate(3),
    Inflate(2, "scale", padding="same"),
    Inflate(3, "negative", padding="valid", stride="spatial"),
    Inflate(3, "zero", at=2, causal=True),
    Inflate(5, "center", padding="zeros", stride="spatial", causal=True),
    Inflate(3, "random", stride="spatial"),
    Inflate(alphas=(0.25, 0.25, 0.5), causal=True, padding="valid"),
    Factorize(),
    Factorize(2, causal=True),
    Factorize(order="parallel", stride="spatial"),
    Factorize(order="both", padding="valid"),
    Factorize(order="both", start="random", causal=True, padding="zeros"),
    Factorize(width="matched", between="norm-act", start="random"),
    Factorize(width="matched", start="random", stride="spatial", padding="same"),
    MaxPool(2),
    AvgPool(3, 2),
    AvgPool(2, padding="valid"),
    MaxPool(1, 1),
    MaxPool(2, causal=True),
    AvgPool(3, 2, causal=True),
    AvgPool(2, 1, "valid", causal=True),
    Transform(),
    Transform(2, "affine", shared=True, causal=True),
]


@pytest.mark.parametrize("conversion", FEW, ids=repr)
def test_every_conversion_keeps_its_laws(conversion):
    report = check_conversion(conversion)
    assert report.laws["shape"] >= 20
    assert set(report.laws) >= {"shape", "every weight learns", *conversion.keeps}


@pytest.mark.slow
@pytest.mark.parametrize("conversion", EVERY_INFLATE + EVERY_FACTORIZE + EVERY_POOL, ids=repr)
def test_every_conversion_with_all_its_fields_keeps_its_laws(conversion):
    assert check_conversion(conversion).laws["shape"] >= 20


def test_the_laws_declared_are_those_that_the_fields_give():
    for start in STARTS:
        assert ("still_clip" in Inflate(3, start).keeps) == (start != "random")
        assert "still_clip" not in Inflate(3, start, padding="zeros").keeps
        assert ("identity_start" in Inflate(3, start).keeps) == (start == "center")
    assert Inflate(3, "zero", at=1).keeps >= {"identity_start"}
    assert Inflate(3, "zero", at=2, causal=True).keeps >= {"identity_start", "causal"}
    assert Factorize().keeps == {"identity_start", "still_clip"}
    assert Factorize(causal=True, start="random").keeps == {"causal"}
    assert MaxPool(2).keeps == {"still_clip"}
    assert AvgPool(2, causal=True).keeps == {"still_clip", "causal"}


def test_a_plain_function_is_checked_too():
    def inflate(conv):
        made = Inflate(3)(conv)
        return nn.Sequential(made)

    assert set(check_conversion(inflate).laws) == {
        "shape",
        "source untouched",
        "every weight learns",
        "strict state-dict round trip",
    }


def test_a_function_that_forgets_a_layers_own_forward_breaks_the_law_of_shape():
    def careless(conv):
        made = nn.Conv3d(4, conv.out_channels, (1, *conv.kernel_size), (1, *conv.stride), bias=False)
        return made

    with pytest.raises(LawBroken, match=r"shape: .*Conv2d"):
        check_conversion(careless)


@dataclass(frozen=True)
class _Claims:
    """Keeps nothing of what it says."""

    keeps: frozenset
    make: object

    def __call__(self, layer):
        return self.make(layer)


class _Late(nn.Module):
    """Answers with the frame that comes next."""

    def __init__(self, layer):
        super().__init__()
        self.inner = OnFrames(layer)

    def forward(self, clip):
        return self.inner(clip).roll(-1, dims=2)


class _Dead(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.inner = Framewise()(layer)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, clip):
        return self.inner(clip)


class _Unsaved(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.held = [Framewise()(layer)]

    def forward(self, clip):
        return self.held[0](clip)


@pytest.mark.parametrize(
    ("law", "keeps", "make"),
    [
        ("causal", {"causal"}, lambda layer: _Late(layer)),
        ("identity start", {"identity_start"}, Inflate(3)),
        ("still clip", {"still_clip"}, Inflate(3, padding="zeros")),
        ("every weight learns", {}, _Dead),
        ("strict state-dict round trip", {}, _Unsaved),
        ("source untouched", {}, OnFrames),
        ("shape", {}, MaxPool(3, padding="valid")),
        ("refuses every layer", {}, Factorize(between="norm-act")),
    ],
)
def test_a_conversion_that_breaks_a_law_is_told_which(law, keeps, make):
    with pytest.raises(LawBroken, match=law):
        check_conversion(_Claims(frozenset(keeps), make))


def test_what_is_refused_is_listed_with_its_reason():
    report = check_conversion(Factorize(width="matched", start="random"))
    assert any("groups" in why for why in report.refused.values())
    assert "refused: Conv2d(4, 4, 3, padding=1, groups=4)" in str(report)


# --- Inflate against a loop over slices and PyTorch's conv3d ---


def _loop(layer, weight, bias, clip, conversion):
    """The sum over slices i of the layer with kernel i on frame t + i - own."""
    frames, length = conversion.frames, clip.shape[2]
    own = frames - 1 if conversion.causal else (frames - 1) // 2

    def frame(index):
        if conversion.padding == "replicate":
            return clip[:, :, min(max(index, 0), length - 1)]
        return clip[:, :, index] if 0 <= index < length else torch.zeros_like(clip[:, :, 0])

    centres = range(own, length - (frames - 1 - own)) if conversion.padding == "valid" else range(length)
    answers = []
    for t in centres:
        seen = (frame(t + i - own) for i in range(frames))
        answers.append(sum(layer(x, weight[:, :, i]) for i, x in enumerate(seen)))
    answer = torch.stack(answers, dim=2)
    return answer if bias is None else answer + bias.view(1, -1, 1, 1, 1)


def _same_pad(x, weight, stride):
    total = [
        max((-(-n // stride) - 1) * stride + k - n, 0)
        for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)
    ]
    (a, b) = total
    return F.conv2d(F.pad(x, (b // 2, b - b // 2, a // 2, a - a // 2)), weight, stride=stride)


LAYERS = {
    "plain": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1), lambda x, w: F.conv2d(x, w, None, 2, 1)),
    "one channel": (
        lambda: nn.Conv2d(1, 6, 3, stride=2, padding=1, dilation=2),
        lambda x, w: F.conv2d(x, w, None, 2, 1, 2),
    ),
    "depthwise": (
        lambda: nn.Conv2d(4, 8, 3, dilation=2, groups=4),
        lambda x, w: F.conv2d(x, w, dilation=2, groups=4),
    ),
    "same": (lambda: SamePadded(4, 6, 3, stride=2), lambda x, w: _same_pad(x, w, 2)),
    "standardised": (lambda: Standardised(4, 6, 3, padding=1), lambda x, w: F.conv2d(x, w, padding=1)),
    "reflect": (
        lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        lambda x, w: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), w),
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("causal", "padding"), [c for c in itertools.product((False, True), PADDINGS) if c != (True, "same")]
)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_inflate_is_a_sum_over_its_slices(kind, causal, padding, frames):
    build, on_frame = LAYERS[kind]
    torch.manual_seed(0)
    layer = build().double()
    conversion = Inflate(frames, "random", causal=causal, padding=padding)
    made = conversion(layer)
    channels = layer.groups * layer.weight.shape[1]
    clip = torch.randn(2, channels, 5, 9, 7, generator=_generator(), dtype=torch.float64)
    wanted = _loop(on_frame, made.weight, made.bias, clip, conversion)
    torch.testing.assert_close(made(clip), wanted)


@pytest.mark.parametrize("length", [1, 4, 5])
def test_inflate_with_stride_is_every_strided_answer(length):
    torch.manual_seed(0)
    one_channel = nn.Conv2d(1, 6, 3, stride=2, padding=1)
    for layer in (nn.Conv2d(4, 6, 3, stride=2, padding=1), SamePadded(4, 6, 3, stride=2), one_channel):
        made = Inflate(3, "random", stride="spatial")(layer)
        plain = Inflate(3, "random")(layer)
        plain.load_state_dict(made.state_dict())
        clip = torch.randn(2, layer.weight.shape[1], length, 8, 7, generator=_generator())
        torch.testing.assert_close(made(clip), plain(clip)[:, :, ::2])


def test_same_padding_in_time_is_tensorflows():
    assert amounts(5, 3, 2, "same", False) == (1, 1)
    assert amounts(6, 3, 2, "same", False) == (0, 1)
    assert amounts(4, 2, 1, "same", False) == (0, 1)
    assert amounts(7, 1, 3, "same", False) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "alphas"),
    [
        (dict(frames=3, start="average"), (1 / 3, 1 / 3, 1 / 3)),
        (dict(frames=3, start="scale"), (1 / 4, 1 / 2, 1 / 4)),
        (dict(frames=2, start="scale"), (1 / 2, 1 / 2)),
        (dict(frames=3, start="zero"), (1, 0, 0)),
        (dict(frames=3, start="negative"), (5 / 3, -1 / 3, -1 / 3)),
        (dict(frames=2, start="negative"), (3 / 2, -1 / 2)),
        (dict(frames=3, start="negative", at=1), (-1 / 3, 5 / 3, -1 / 3)),
        (dict(frames=3, start="center"), (0, 1, 0)),
        (dict(frames=4, start="center"), (0, 1, 0, 0)),
        (dict(frames=3, start="center", causal=True), (0, 0, 1)),
        (dict(frames=2, alphas=[2, 3]), (2, 3)),
    ],
)
def test_the_alphas_are_those_of_mansimov(fields, alphas):
    assert slice_factors(Inflate(**fields)) == pytest.approx(alphas)
    conv = nn.Conv2d(2, 3, 3)
    weight = Inflate(**fields)(conv).weight
    for slice_, alpha in zip(weight.unbind(2), alphas, strict=True):
        torch.testing.assert_close(slice_, alpha * conv.weight)


def test_a_weight_standardised_kernel_is_standardised_first():
    layer = Standardised(4, 6, 3)
    first = Inflate(2, "zero")(layer).weight[:, :, 0]
    torch.testing.assert_close(first.mean(dim=(1, 2, 3)), torch.zeros(6), atol=1e-6, rtol=0)
    assert not torch.allclose(first, layer.weight)


def test_a_gain_behind_the_convolution_keeps_learning_and_a_dead_copy_is_not_saved():
    made = Inflate(2)(Gained(4, 6, 3))
    assert set(dict(made.named_parameters())) == {"weight", "bias", "held.gain"}
    assert set(made.state_dict()) == {"weight", "bias", "held.gain"}


class _Squared(nn.Conv2d):
    def forward(self, frames):
        return super().forward(frames * frames)


class _Twice(nn.Conv2d):
    def forward(self, frames):
        return super().forward(frames) + super().forward(2 * frames)


class _Offset(nn.Conv2d):
    def forward(self, frames):
        return super().forward(frames) + 1


class _Gated(nn.Conv2d):
    def forward(self, frames):
        return super().forward(frames).relu()


@pytest.mark.parametrize("kind", [_Squared, _Twice, _Offset, _Gated])
def test_what_is_not_one_linear_convolution_is_refused_with_the_remedy(kind):
    with pytest.raises(ConversionError, match="Use Factorize"):
        Inflate(3)(kind(2, 3, 3))
    assert check_shape(Factorize()(kind(2, 3, 3)))


def check_shape(made):
    return made(torch.zeros(1, 2, 4, 5, 5)).shape == (1, 3, 4, 3, 3)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Linear(2, 2), nn.MaxPool2d(2), nn.Conv3d(1, 1, 1)])
def test_only_convolutions_are_inflated_or_factorised(layer):
    for conversion in (Inflate(3), Factorize()):
        with pytest.raises(ConversionError, match=type(layer).__name__):
            conversion(layer)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Inflate(0), "at least 1"),
        (lambda: Inflate(3, "avrage"), "average"),
        (lambda: Inflate(3, at=3), "slices 0 to 2"),
        (lambda: Inflate(3, alphas=(1, 2)), "2 alphas for 3 frames"),
        (lambda: Inflate(3, padding="reflect"), "replicate"),
        (lambda: Inflate(3, padding="same", causal=True), "looks ahead"),
        (lambda: Inflate(3, stride=2), "spatial"),
        (lambda: Factorize(order="serial"), "series"),
        (lambda: Factorize(width="matched"), "start='random'"),
        (lambda: Factorize(between="norm-act", order="both"), "series"),
        (lambda: MaxPool(2, padding="zeros"), "no zeros"),
        (lambda: AvgPool(0), "at least 1"),
        (lambda: MaxPool(2, causal="yes"), "True or False"),
    ],
)
def test_fields_that_do_not_fit_are_refused_in_one_line(make, words):
    with pytest.raises(ConversionError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


# --- temporal parts against PyTorch's 3-D operators ---


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_temporal_convolution_is_conv3d(stride, groups):
    weight = torch.randn(8, 4 // groups, 3, 1, 1, generator=_generator())
    clip = torch.randn(2, 4, 6, 5, 3, generator=_generator())
    came = TemporalConv(weight, groups, stride, "zeros")(clip)
    wanted = F.conv3d(clip, weight, stride=(stride, 1, 1), padding=(1, 0, 0), groups=groups)
    torch.testing.assert_close(came, wanted)
    causal = TemporalConv(weight, groups, stride, "zeros", causal=True)(clip)
    padded = F.pad(clip, (0, 0, 0, 0, 2, 0))
    torch.testing.assert_close(causal, F.conv3d(padded, weight, stride=(stride, 1, 1), groups=groups))


def test_factorised_depthwise_stays_depthwise():
    made = Factorize()(nn.Conv2d(4, 4, 3, groups=4))
    assert made.temporal.groups == 4
    assert made.temporal.weight.shape == (4, 1, 3, 1, 1)


@pytest.mark.parametrize("order", ["series", "parallel", "both"])
def test_the_orders_of_factorize(order):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    made = Factorize(order=order, start="random", padding="zeros")(conv)
    clip = torch.randn(2, 4, 5, 9, 7, generator=_generator())
    space = F.conv3d(clip, conv.weight.unsqueeze(2), conv.bias, (1, 2, 2), (0, 1, 1))
    weight = made.temporal.weight

    def time(x):
        return F.conv3d(x, weight, padding=(1, 0, 0))

    wanted = {
        "series": lambda: time(space),
        "parallel": lambda: space + time(clip[..., ::2, ::2]),
        "both": lambda: space + time(space),
    }[order]()
    torch.testing.assert_close(made(clip), wanted)


@pytest.mark.parametrize(
    ("inp", "out", "planes"), [(64, 64, 144), (64, 128, 230), (256, 512, 921), (1, 1, 2)]
)
def test_matched_midplanes_are_those_of_the_paper_and_keep_the_parameters(inp, out, planes):
    assert midplanes(3, 3, 3, inp, out) == planes
    full, split = 27 * inp * out, planes * (9 * inp + 3 * out)
    assert split <= full < split + 9 * inp + 3 * out
    made = Factorize(width="matched", start="random")(nn.Conv2d(inp, out, 3, bias=False))
    assert sum(p.numel() for p in made.parameters()) == split


@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("length", [1, 4, 5])
def test_temporal_max_and_average_pools_are_pytorchs(frames, stride, length):
    clip = torch.randn(2, 3, length, 6, 4, generator=_generator())
    total = max((-(-length // stride) - 1) * stride + frames - length, 0)
    before = total // 2
    padded = F.pad(clip, (0, 0, 0, 0, before, total - before), value=-torch.inf)
    wanted = F.max_pool3d(padded, (frames, 2, 2), (stride, 2, 2))
    torch.testing.assert_close(MaxPool(frames, stride)(nn.MaxPool2d(2))(clip), wanted)
    numbers = F.pad(clip, (0, 0, 0, 0, before, total - before))
    counts = F.pad(torch.ones_like(clip), (0, 0, 0, 0, before, total - before))
    kernel, steps = (frames, 1, 1), (stride, 1, 1)
    mean = F.avg_pool3d(numbers, kernel, steps) / F.avg_pool3d(counts, kernel, steps)
    torch.testing.assert_close(AvgPool(frames, stride)(nn.Identity())(clip), mean)


@pytest.mark.parametrize("padding", ["same", "replicate", "valid"])
@pytest.mark.parametrize(("frames", "stride"), [(1, 2), (2, 2), (3, 1), (3, 5)])
def test_causal_pools_are_a_loop_over_the_frames_up_to_each_answers_own(frames, stride, padding):
    clip = torch.randn(2, 3, 7, 6, 4, generator=_generator())
    own = range(frames - 1 if padding == "valid" else 0, 7, stride)
    seen = [
        [max(t - i, 0) for i in range(frames) if t >= i or padding == "replicate"] for t in own
    ]  # "same" counts what is there
    largest = torch.stack([clip[:, :, at].amax(dim=2) for at in seen], dim=2)
    mean = torch.stack([clip[:, :, at].mean(dim=2) for at in seen], dim=2)
    made = [pool(frames, stride, padding, causal=True)(nn.Identity())(clip) for pool in (MaxPool, AvgPool)]
    torch.testing.assert_close(made, [largest, mean])


def test_a_clip_shorter_than_an_unpadded_kernel_is_refused():
    made = Inflate(3, padding="valid")(nn.Conv2d(1, 1, 1))
    with pytest.raises(ClipTooShort, match="2 frame"):
        made(torch.zeros(1, 1, 2, 3, 3))
    assert made(torch.zeros(1, 1, 3, 3, 3)).shape[2] == 1


def test_the_cases_have_every_stride_dilation_group_and_padding():
    layers = [case.build() for _, case in cases()]
    assert {max(layer.stride) for layer in layers} == {1, 2, 3}
    assert {max(layer.dilation) for layer in layers} == {1, 2}
    assert {layer.groups for layer in layers} == {1, 2, 4}
    assert {layer.bias is None for layer in layers} == {True, False}
    assert {layer.kernel_size for layer in layers} >= {(1, 1), (2, 2), (3, 3), (5, 5), (1, 5), (3, 1)}
