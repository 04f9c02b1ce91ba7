"""Recur against loops over frames and pixels, what its starts promise, and the RCN systems."""

import itertools

import pytest
import torch
from torch import nn

from heart_tiny import Tiny, clip, frames, seeded
from timelift import (
    ConversionError,
    Framewise,
    Recur,
    check_conversion,
    create_model,
    image_network,
    lift,
    named,
)
from timelift.clip import fold
from timelift.networks.resnet import resnet
from timelift.systems import SYSTEMS
from timelift.testing import wake
from timelift.testing.layers import SamePadded

EVERY_RECUR = [
    Recur(unit, start, halve)
    for unit, start, halve in itertools.product(("rcn", "lstm", "gru"), ("identity", "random"), (True, False))
    if halve or unit == "rcn"
]


def layer(groups=1, inp=4, out=4):
    return seeded(lambda: nn.Conv2d(inp, out, 3, padding=1, groups=groups)).double()


def drawn(module, seed=3):
    """The module with every parameter drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def moving(length, channels=4, clips=2):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(clips, channels, length, 5, 7, generator=generator, dtype=torch.float64)


def pixels(maps):
    """(B, C, T, H, W) -> (T, B*H*W, C): what a cell for sequences takes."""
    return maps.permute(2, 0, 3, 4, 1).flatten(1, 3)


@pytest.mark.parametrize("conversion", EVERY_RECUR, ids=repr)
def test_every_recurrence_keeps_its_laws(conversion):
    report = check_conversion(conversion)
    assert report.laws["causal"] >= 20
    assert set(report.laws) >= conversion.keeps


def test_the_laws_declared_are_those_that_the_fields_give():
    assert Recur().keeps == {"causal", "still_clip"}
    assert (
        Recur(halve=False).keeps == Recur(start="random").keeps == Recur("gru", "random").keeps == {"causal"}
    )
    assert Recur("lstm").keeps == Recur("gru").keeps == {"causal", "still_clip", "identity_start"}


@pytest.mark.parametrize("halve", [True, False])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_rcn_is_the_loop_of_its_equation(halve, length):
    made = drawn(Recur(halve=halve)(layer()))
    matrix, share = made.unit.weight[:, :, 0, 0], 0.5 if halve else 1.0
    x = pixels(made.spatial(moving(length)))
    hidden = [x[0]]
    for t in range(1, length):
        hidden.append(share * (hidden[-1] @ matrix.T + x[t]))
    torch.testing.assert_close(pixels(made(moving(length))), torch.stack(hidden))


def test_rcn_with_the_identity_forgets_by_halves():
    made = Recur()(layer())
    x = made.spatial(moving(4))
    weights = torch.tensor([1 / 8, 1 / 8, 1 / 4, 1 / 2], dtype=torch.float64)
    torch.testing.assert_close(made(moving(4))[:, :, 3], torch.einsum("bcthw,t->bchw", x, weights))


def test_a_depthwise_layer_keeps_a_depthwise_recurrence():
    made = drawn(Recur()(layer(groups=4)))
    assert made.unit.weight.shape == (4, 1, 1, 1)
    x, w = made.spatial(moving(3)), made.unit.weight.view(1, 4, 1, 1)
    first = (w * x[:, :, 0] + x[:, :, 1]) / 2
    torch.testing.assert_close(made(moving(3))[:, :, 2], (w * first + x[:, :, 2]) / 2)


def test_after_a_grouped_layer_all_channels_meet():
    assert Recur()(layer(groups=2)).unit.weight.shape == (4, 4, 1, 1)
    assert Recur()(layer(groups=4, out=8)).unit.weight.shape == (8, 2, 1, 1)


def test_lstm_is_pytorchs_cell_at_every_pixel():
    made = drawn(Recur("lstm")(layer(out=6)))
    cell, gates = nn.LSTMCell(6, 6).double(), made.unit.gates
    state = {"weight_ih": gates.from_input[:, :, 0, 0], "weight_hh": gates.from_state[:, :, 0, 0]}
    cell.load_state_dict(state | {"bias_ih": gates.bias, "bias_hh": torch.zeros(24)})
    x, memory, answers = pixels(made.spatial(moving(5))), None, []
    for frame in x:
        memory = cell(frame, memory)
        answers.append(frame + memory[0])
    torch.testing.assert_close(pixels(made(moving(5))), torch.stack(answers))


def test_a_depthwise_lstm_is_one_cell_for_each_channel():
    made = drawn(Recur("lstm")(layer(groups=4)))
    gates, x = made.unit.gates, pixels(made.spatial(moving(4)))
    answers = []
    for c in range(4):
        cell, own = nn.LSTMCell(1, 1).double(), slice(4 * c, 4 * c + 4)
        state = {"weight_ih": gates.from_input[own, :, 0, 0], "weight_hh": gates.from_state[own, :, 0, 0]}
        cell.load_state_dict(state | {"bias_ih": gates.bias[own], "bias_hh": torch.zeros(4)})
        memory, channel = None, []
        for frame in x[..., c : c + 1]:
            memory = cell(frame, memory)
            channel.append(frame + memory[0])
        answers.append(torch.stack(channel))
    torch.testing.assert_close(pixels(made(moving(4))), torch.cat(answers, dim=-1))


def test_gru_is_a_loop_with_one_matrix_on_input_and_state():
    made = drawn(Recur("gru")(layer()))
    gates, fresh = (
        torch.cat([part.from_input, part.from_state], dim=1)[:, :, 0, 0]
        for part in (made.unit.gates, made.unit.fresh)
    )
    x = pixels(made.spatial(moving(5)))
    hidden, answers = torch.zeros_like(x[0]), []
    for frame in x:
        both = torch.cat([frame, hidden], dim=1) @ gates.T + made.unit.gates.bias
        update, reset = both.sigmoid().chunk(2, dim=1)
        new = (torch.cat([frame, reset * hidden], dim=1) @ fresh.T + made.unit.fresh.bias).tanh()
        hidden = (1 - update) * hidden + update * new
        answers.append(frame + hidden)
    torch.testing.assert_close(pixels(made(moving(5))), torch.stack(answers))


@pytest.mark.parametrize("unit", ["lstm", "gru"])
def test_gates_at_zero_leave_the_network_and_still_learn(unit):
    net = wake(seeded(Tiny), frames())
    video, plain = lift(net, Recur(unit)).eval(), lift(net, Framewise()).eval()
    torch.testing.assert_close(video(clip(5).double()), plain(clip(5).double()), rtol=0, atol=0)
    video(clip(5).double()).pow(2).sum().backward()
    grown = [p.grad.abs().max() > 0 for name, p in video.named_parameters() if "from_input" in name]
    assert sum(grown) >= 5  # the gates that let something new in, of every layer


def test_random_starts_are_drawn_and_the_same_seed_draws_the_same():
    torch.manual_seed(0)
    one = Recur(start="random")(layer(out=64)).unit.weight
    torch.manual_seed(0)
    assert torch.equal(one, Recur(start="random")(layer(out=64)).unit.weight)
    assert abs(float(one.detach().std()) - (2 / 64) ** 0.5) < 0.01  # He's normal
    gates = Recur("gru", "random")(layer(out=64)).unit.fresh
    assert 0.9 * 128**-0.5 < float(gates.from_state.detach().abs().max()) <= 128**-0.5
    assert not gates.bias.detach().any()


def test_the_layers_own_forward_is_kept():
    held = seeded(lambda: SamePadded(4, 4, 3, stride=2)).double()
    still = moving(1).expand(-1, -1, 3, -1, -1)
    answer = Recur()(held)(still)
    torch.testing.assert_close(fold(answer)[2], held(still[0, :, 2].unsqueeze(0))[0])


class Again(nn.Module):
    def __init__(self):
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.once = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.once(self.twice(self.twice(x))).mean((2, 3))


def test_a_layer_that_runs_twice_is_refused_with_a_remedy():
    with pytest.raises(ConversionError, match=r"^twice runs 2 times .*Recur.*@ named"):
        lift(Again(), Recur())
    assert lift(Again(), Recur() @ named("once"))(clip(3)).shape == (2, 4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"unit": "rnn"}, "unit='rnn': there are rcn, lstm, gru"),
        ({"start": "zero"}, "start='zero': there are identity, random"),
        ({"halve": 1}, "halve=1: wanted True or False"),
        ({"unit": "gru", "halve": False}, "halve=False is for unit='rcn'"),
    ],
)
def test_impossible_fields_are_refused(fields, words):
    with pytest.raises(ConversionError, match=words):
        Recur(**fields)


def test_a_layer_that_is_no_convolution_is_refused():
    with pytest.raises(ConversionError, match="is a MaxPool2d: Recur takes convolutions"):
        Recur()(nn.MaxPool2d(2))


def test_timms_bottlenecks_recur():
    with torch.device("meta"):
        video = lift(image_network("timm:resnet26", classes=3, weights=None), Recur() @ named("layer*.conv1"))
    converted = [row.layer for row in video.receipt.converted]
    assert converted == [f"layer{i}.{j}.conv1" for i in (1, 2, 3, 4) for j in (0, 1)]
    added = video.receipt.parameters_after - video.receipt.parameters_before
    assert added == 2 * (64**2 + 128**2 + 256**2 + 512**2)
    assert video.eval()(torch.zeros(2, 3, 5, 64, 64, device="meta")).shape == (2, 3)


# --- the systems ---


def test_places_in_the_systems():
    with torch.device("meta"):
        eighteen, fifty = create_model("rcn_18", classes=2), create_model("rcn_50", classes=2)
    blocks = [f"layer{i}.{j}.conv{k}" for i in (1, 2, 3, 4) for j in (0, 1) for k in (1, 2)]
    assert [row.layer for row in eighteen.receipt.converted] == blocks
    where = {1: (0, 1, 2), 2: (0, 2), 3: (0, 2, 4), 4: (0, 1)}
    assert [row.layer for row in fifty.receipt.converted] == [
        f"layer{i}.{j}.conv1" for i, blocks in where.items() for j in blocks
    ]


@pytest.mark.parametrize("name", ["rcn_18", "rclstm_18", "rcgru_18"])
def test_a_still_clip_gets_what_the_image_network_gives(name):
    net = wake(seeded(lambda: resnet(18, classes=3)), frames())
    state = {key: value.float() for key, value in net.state_dict().items()}
    video = create_model(name, classes=3, weights=state, stem=True).double().eval()
    still = frames(2, seed=7).double()
    answer = video(still.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    torch.testing.assert_close(answer, net(still), rtol=1e-5, atol=1e-5)
    assert {group for name, group in video.parameter_groups().items() if "unit" in name} == {"lifted"}


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name.startswith("rc")])
def test_image_weights_are_named_as_torchvisions(name):
    image = SYSTEMS[name].image
    with torch.device("meta"):
        theirs = image_network(image.network, weights=None).state_dict()
        ours = resnet(int(image.network.rpartition("resnet")[2]), classes=1000).state_dict()
    assert {k: v.shape for k, v in image.keys(theirs).items()} == {k: v.shape for k, v in ours.items()}
