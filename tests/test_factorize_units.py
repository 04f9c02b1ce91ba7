"""Factorize on a unit (a convolution with its norm and activation), and with a width that is given."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from timelift import ConversionError, Factorize, check_conversion, lift
from timelift.clip import ClipBatch
from timelift.networks.select import cycle, named

ORDERS = ("series", "parallel", "both")
NORMS = {
    "batch": lambda channels: nn.BatchNorm2d(channels),
    "group": lambda channels: nn.GroupNorm(2, channels),
    "none": lambda channels: nn.Identity(),
}


def unit(norm="batch", stride=1, inp=4, out=6):
    """A convolution, its norm and a ReLU in float64 and eval, with scales and statistics that are felt."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(inp, out, 3, stride, 1, bias=False), NORMS[norm](out), nn.ReLU()).double()
    woken(made, torch.randn(4, inp, 9, 7, dtype=torch.float64))
    return made


def woken(module, example):
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)
    module.train()(example)
    return module.eval()


def clip(length=5, seed=1):
    return torch.randn(2, 4, length, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def awake_time(made):
    """The conversion with a norm of T that is felt."""
    made.double()
    woken(made.behind.layer, torch.randn(8, 6, 9, 7, dtype=torch.float64) + 1)
    return made.eval()


def on_frames(layer, x):
    return torch.stack([layer(frame) for frame in x.unbind(2)], dim=2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("length", [1, 5])
def test_norm_and_activation_stand_behind_each_part_and_nothing_behind_the_sum(order, norm, stride, length):
    held = unit(norm, stride)
    made = awake_time(Factorize(3, order, start="random", padding="zeros")(held))

    def time(x):
        return on_frames(made.behind.layer, F.conv3d(x, made.temporal.weight, padding=(1, 0, 0)))

    x = clip(length)
    space = on_frames(held, x)
    wanted = {
        "series": lambda: time(space),
        "parallel": lambda: space + time(x[..., ::stride, ::stride]),
        "both": lambda: space + time(space),
    }[order]()
    torch.testing.assert_close(made(x), wanted)
    assert isinstance(made.behind.layer[-1], nn.ReLU)


@pytest.mark.parametrize("order", ORDERS)
def test_the_norm_of_t_is_fresh_and_nobody_elses(order):
    held = unit()
    before = copy.deepcopy(held.state_dict())
    made = Factorize(3, order, start="random")(held)
    own, norm = made.spatial.layer[1], made.behind.layer[0]
    assert torch.equal(own.weight, held[1].weight)
    assert torch.equal(norm.weight, torch.ones(6))
    assert not norm.running_mean.any()
    made.train()(clip()).sum().backward()
    assert not torch.equal(own.running_mean, norm.running_mean)
    assert all(parameter.grad is not None for parameter in made.parameters())
    for key, value in held.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(parameter.grad is None for parameter in held.parameters())


@pytest.mark.parametrize("order", ORDERS)
def test_the_identity_start_of_a_unit_is_exact_up_to_the_fresh_norms_eps(order):
    held = unit()
    made = Factorize(3, order)(held).double().eval()
    tolerance = 1.01 * 5e-6 if order == "series" else 1e-11  # 1 / sqrt(1 + eps) is 1 - eps / 2
    torch.testing.assert_close(made(clip()), on_frames(held, clip()), rtol=tolerance, atol=1e-13)


@pytest.mark.parametrize("order", ORDERS)
def test_a_causal_unit_answers_piece_by_piece_what_it_answers_at_once(order):
    made = awake_time(Factorize(3, order, start="random", causal=True)(unit()))
    whole, past, pieces = clip(7), None, []
    for piece in whole.split([1, 3, 2, 1], dim=2):
        answer, past = made.advance(piece, past)
        pieces.append(answer)
    torch.testing.assert_close(torch.cat(pieces, dim=2), made(whole))
    with pytest.raises(ConversionError, match="causal=True"):
        Factorize(3, order, start="random")(unit()).advance(clip(3), None)


class OwnForward(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Sequential(),
        nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3))),
        OwnForward(nn.Conv2d(4, 4, 3), nn.ReLU()),
    ],
    ids=["empty", "activation first", "two convolutions", "one more inside", "a forward of its own"],
)
def test_what_is_no_unit_is_refused(layer):
    with pytest.raises(ConversionError, match=f"is a {type(layer).__name__}"):
        Factorize()(layer)


@pytest.mark.parametrize("fields", [{"width": "matched"}, {"width": 5}, {"between": "norm-act"}])
def test_a_unit_takes_no_other_width_nor_a_second_norm(fields):
    with pytest.raises(ConversionError, match="unit with its own norm"):
        Factorize(start="random", **fields)(unit())


class Units(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(unit(inp=4, out=4).float() for _ in range(4))
        self.fc = nn.Linear(4, 3)

    def forward(self, frames):
        for block in self.blocks:
            frames = frames + block(frames)
        return self.fc(frames.mean((2, 3)))


def test_units_are_named_as_places_and_take_turns():
    a, b, c = (Factorize(3, order, start="random") for order in ORDERS)
    video = lift(Units(), cycle(a, b, c) @ named("blocks.?"), example=torch.zeros(1, 4, 9, 7))
    kinds = [type(block.on_clips).__name__ for block in video.image_net.blocks]
    assert kinds == ["SeriesFactorized", "ParallelFactorized", "BothFactorized", "SeriesFactorized"]
    assert video(clip().float()).shape == (2, 3)
    with ClipBatch(2):
        assert video.image_net.blocks[1](torch.zeros(10, 4, 9, 7)).shape == (10, 4, 9, 7)


# --- a width that is given ---


@pytest.mark.parametrize("planes", [1, 5, 45])
@pytest.mark.parametrize("between", ["none", "norm-act"])
def test_a_given_width_is_that_of_the_planes_between(planes, between):
    made = Factorize(3, width=planes, between=between, start="random")(nn.Conv2d(4, 6, 3, 2, 1, bias=False))
    norm = 2 * planes if between == "norm-act" else 0
    assert sum(p.numel() for p in made.parameters()) == planes * 4 * 9 + norm + 6 * planes * 3
    assert made(clip().float()).shape == (2, 6, 5, 5, 4)


@pytest.mark.parametrize("width", [1, 7])
def test_a_given_width_keeps_the_laws(width):
    report = check_conversion(Factorize(3, width=width, between="norm-act", start="random"))
    assert {why.split(":")[0] for why in report.refused.values()} == {
        "has 2 groups",
        "has 4 groups",
        "is a Gained with weights of its own",
    }


@pytest.mark.parametrize("width", [0, -3, True, 2.0, "wide", None])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(ConversionError, match="same, matched, or a number"):
        Factorize(width=width, start="random")


@pytest.mark.parametrize("fields", [{}, {"start": "random", "order": "parallel"}])
def test_a_given_width_needs_a_random_start_in_series(fields):
    with pytest.raises(ConversionError, match="width=45 changes the width"):
        Factorize(width=45, **fields)


def test_the_rule_is_written_as_it_is_typed():
    assert repr(Factorize(3, width=45, start="random")) == "Factorize(frames=3, width=45, start='random')"
