"""Shift against a loop over indices; Gate against its formula, on branches and converted layers."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import (
    ConversionError,
    Factorize,
    Gate,
    Inflate,
    Shift,
    Transform,
    check_conversion,
    lift,
    named,
)
from timelift.clip import fold
from timelift.conversions.gate import CausalGate, SelfGate
from timelift.conversions.shift import TemporalShift
from timelift.testing import wake

EVERY_SHIFT = [
    Shift(every, causal, padding)
    for every in (2, 3, 4)
    for causal in (False, True)
    for padding in ("replicate", "zeros")
]


def moving(length, channels=7):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, channels, length, 3, 5, generator=generator, dtype=torch.float64)


# --- Shift ---


@pytest.mark.parametrize("conversion", [*EVERY_SHIFT, Gate(), Gate(bias=True), Gate(causal=True)], ids=repr)
def test_every_one_keeps_its_laws(conversion):
    report = check_conversion(conversion)
    assert report.laws["shape"] >= 20
    assert set(report.laws) >= conversion.keeps


def test_the_laws_declared_are_those_that_the_fields_give():
    assert Shift().keeps == {"still_clip"}
    assert Shift(causal=True).keeps == {"still_clip", "causal"}
    assert Shift(causal=True, padding="zeros").keeps == {"causal"}
    assert Shift(padding="zeros").keeps == Gate().keeps == frozenset()


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("conversion", EVERY_SHIFT, ids=repr)
def test_shift_is_a_loop_over_channels_and_frames(conversion, length):
    x, moved = moving(length), 7 // conversion.every
    wanted = torch.empty_like(x)
    for c in range(7):
        step = -1 if c < moved else 1 if c < 2 * moved and not conversion.causal else 0
        for t in range(length):
            inside = 0 <= t + step < length
            there = x[:, c, min(max(t + step, 0), length - 1)]
            wanted[:, c, t] = there if inside or conversion.padding == "replicate" else 0
    before = x.clone()
    assert torch.equal(TemporalShift(moved, conversion.causal, conversion.padding)(x), wanted)
    assert torch.equal(x, before)
    conv = nn.Conv2d(7, 2, 3).double()
    torch.testing.assert_close(fold(conversion(conv)(x)), conv(fold(wanted)))


def test_shift_adds_no_parameters_and_stands_before_the_layer():
    video = lift(seeded(Tiny), Shift(4) @ named("layer*.conv?"))
    assert video.receipt.parameters_after == video.receipt.parameters_before
    assert [part.__class__.__name__ for part in video.image_net.layer2.conv1.on_clips] == [
        "TemporalShift",
        "OnFrames",
    ]


def test_too_few_channels_are_refused_with_a_remedy():
    with pytest.raises(ConversionError, match=r"^conv1 takes 3 channel.*take every=3 or fewer"):
        lift(seeded(Tiny), Shift())
    with pytest.raises(ConversionError, match="is a ReLU: Shift takes convolutions"):
        Shift()(nn.ReLU())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"every": 1}, "every=1: wanted a whole number, at least 2"),
        ({"every": 1, "causal": True}, "at least 2"),
        ({"every": 2.0}, "every=2.0"),
        ({"padding": "same"}, "padding='same': a shift has replicate and zeros"),
    ],
)
def test_impossible_fields_are_refused(fields, words):
    with pytest.raises(ConversionError, match=words):
        Shift(**fields)
    with pytest.raises(ConversionError, match="bias=1: wanted True or False"):
        Gate(bias=1)


# --- Gate ---


def woken(made):
    """Weights of usual size: a start of 0.01 hides what the clip says."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


@pytest.mark.parametrize("bias", [False, True])
def test_gate_is_its_formula(bias):
    conv = seeded(lambda: nn.Conv2d(7, 4, 3, stride=2)).double()
    made = woken(Gate(bias)(conv).double())
    maps = made[0](moving(3)).detach().numpy()
    weight = made[1].excite.weight.detach().numpy()
    shift = made[1].excite.bias.detach().numpy() if bias else 0.0
    for b in range(2):
        says = weight @ maps[b].mean(axis=(1, 2, 3)) + shift
        wanted = maps[b] * (1 / (1 + (-torch.tensor(says)).exp().numpy()))[:, None, None, None]
        torch.testing.assert_close(made(moving(3))[b].detach(), torch.tensor(wanted))


def test_a_causal_gate_is_the_gate_of_the_frames_up_to_each():
    torch.manual_seed(2)
    gate, x = CausalGate(7, bias=True).double(), moving(5)
    torch.nn.init.normal_(gate.excite.weight)
    of_all = SelfGate(7, bias=True).double()
    of_all.load_state_dict(gate.state_dict())
    wanted = torch.stack([of_all(x[:, :, : t + 1])[:, :, t] for t in range(5)], dim=2)
    torch.testing.assert_close(gate(x), wanted)


def test_gate_halves_every_channel_at_first():
    gate = seeded(lambda: SelfGate(64, bias=True))
    weight = gate.excite.weight.detach()
    assert float(weight.abs().max()) <= 0.02
    assert 0.008 < float(weight.std()) < 0.0095  # a normal of 0.01, cut at two: 0.0088
    assert not gate.excite.bias.any()
    x = torch.randn(2, 64, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gate(x), x / 2, rtol=0.1, atol=0)


def branch(*converted):
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 5, 3), act=nn.ReLU(), **dict(converted)))


@pytest.mark.parametrize(
    ("module", "channels"),
    [
        (nn.Conv2d(3, 4, 1), 4),
        (branch(("norm", nn.BatchNorm2d(5)), ("act2", nn.ReLU())), 5),
        (nn.Sequential(nn.Conv2d(3, 9, 1), nn.Conv2d(9, 6, 1), nn.ReLU()), 6),
        (nn.Sequential(nn.Conv2d(3, 9, 1), nn.BatchNorm2d(9), nn.Conv2d(9, 6, 1)), 6),
        (Inflate(3)(nn.Conv2d(3, 8, 3)), 8),
        (Transform(3)(nn.Conv2d(3, 8, 3)), 8),
        (Factorize(3, width=4, start="random")(nn.Conv2d(3, 8, 3)), 8),
    ],
)
def test_gate_finds_how_many_channels_a_module_gives(module, channels):
    assert Gate()(module)[1].excite.weight.shape == (channels, channels)


def test_gate_takes_a_branch_whose_convolutions_are_converted():
    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = branch(("norm", nn.BatchNorm2d(5)))
            self.fc = nn.Linear(5, 2)

        def forward(self, x):
            return self.fc(self.branch(x).mean((2, 3)))

    net = wake(seeded(Branched), frames())
    video = lift(net, Gate() @ named("branch"), Inflate(3)).eval()
    assert [row.layer for row in video.receipt.converted] == ["branch", "branch.conv"]
    gate = video.image_net.branch.on_clips[1]
    with torch.no_grad():
        gate.excite.weight.zero_()
    plain = lift(net, Inflate(3)).eval()
    maps = []
    plain.image_net.branch.register_forward_hook(lambda m, a, out: maps.append(out))
    plain(clip(4).double())
    halved = plain.image_net.fc(maps[0].mean((2, 3)) / 2).unflatten(0, (2, 4)).mean(1)
    torch.testing.assert_close(video(clip(4).double()), halved)


def test_a_module_without_channels_is_refused():
    with pytest.raises(ConversionError, match=r"^pool1 is a MaxPool2d without a convolution or batch norm"):
        lift(seeded(Tiny), Gate() @ named("pool1"))


def test_a_gate_on_more_channels_than_it_found_says_so():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1)

        def forward(self, x):
            return torch.cat([self.one(x), self.two(x)], dim=1)

    with pytest.raises(ConversionError, match=r"a gate for 5 channels, .* got 9"):
        lift(nn.Sequential(OrderedDict(joined=Joined())), Gate() @ named("joined"))
