"""Places choose layers in order of execution; gates and heads never."""

import pytest
import torch

from heart_tiny import Backwards, Tiny, seeded
from timelift import Factorize, Inflate, bottom, cycle, every, first, image_network, lift, named, stages, top
from timelift.networks.trace import trace
from timelift.records.errors import UsageError

TINY = ["conv1", "layer1.conv1", "layer1.conv2", "layer2.conv1", "layer2.conv2"]


def chosen(place, net=None, side=32):
    net = net or seeded(Tiny)
    return [layer.name for layer in place.choose(trace(net, torch.zeros(1, 3, side, side))[0])]


@pytest.mark.parametrize(
    ("place", "names"),
    [
        (every, TINY),
        (every(), TINY),
        (every(pointwise=True), [*TINY, "layer2.downsample.0"]),
        (first(1), TINY[:1]),
        (first(3), TINY[:3]),
        (stages(0), TINY[:1]),
        (stages(1), TINY[1:3]),
        (stages(2, 1), TINY[1:]),
        (top(0.5), TINY[2:]),
        (top(0.2), TINY[4:]),
        (top(1), TINY),
        (bottom(0.5), TINY[:3]),
        (bottom(0.01), TINY[:1]),
        (named("layer?.conv1"), ["layer1.conv1", "layer2.conv1"]),
        (named("pool1"), ["pool1"]),
        (named("layer1"), ["layer1"]),
        (named("layer9*"), []),
    ],
    ids=repr,
)
def test_the_layers_of_every_place(place, names):
    assert chosen(place) == names


def test_the_order_is_that_of_execution():
    names = [layer.name for layer in trace(Backwards(), torch.zeros(1, 3, 16, 16))[0] if layer.is_conv]
    assert names == ["early", "point", "late", "gate.fc", "head"]
    assert chosen(every, Backwards()) == ["early", "late"]
    assert chosen(first(1), Backwards()) == ["early"]
    assert chosen(top(0.5), Backwards()) == ["late"]


def test_gates_and_heads_are_in_no_place_but_by_name():
    assert chosen(every(pointwise=True), Backwards()) == ["early", "point", "late"]
    assert chosen(named("gate.fc"), Backwards()) == ["gate.fc"]


def test_a_small_example_hides_no_layer():
    assert chosen(every, side=4) == TINY
    assert chosen(every, side=224) == TINY


@pytest.mark.parametrize(
    ("name", "gates", "head"),
    [
        ("timm:regnety_002", "se", "head.fc"),
        ("timm:mobilenetv3_small_050", "se", "conv_head"),
    ],
)
def test_timms_gates_and_heads_are_seen(name, gates, head):
    net = image_network(name, weights=None)
    layers = trace(net, torch.zeros(1, 3, 64, 64))[0]
    taken = [layer.name for layer in every(pointwise=True).choose(layers)]
    assert taken
    assert not [n for n in taken if f".{gates}." in n or n.startswith(head)]


def test_a_convolution_over_the_whole_map_is_a_head():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Conv2d(4, 8, 8), torch.nn.Conv2d(8, 2, 1)
    )
    assert chosen(every(pointwise=True), net, side=16) == ["0"]
    assert chosen(every(pointwise=True), net, side=32) == ["0", "1", "2"]


def test_torchvisions_squeezenet_has_its_head_on_maps():
    net = image_network("torchvision:squeezenet1_1", weights=None)
    assert "classifier.1" not in [
        layer.name for layer in every(pointwise=True).choose(trace(net, torch.zeros(1, 3, 64, 64))[0])
    ]


@pytest.mark.parametrize("name", ["timm:repvgg_a0", "timm:hrnet_w18_small", "timm:mobileone_s0"])
def test_networks_that_run_in_another_order_than_they_are_registered(name):
    net = image_network(name, weights=None)
    layers = trace(net, torch.zeros(1, 3, 64, 64))[0]
    registered = {n: i for i, (n, _) in enumerate(net.named_modules())}
    order = [registered[layer.name] for layer in layers if layer.is_conv]
    assert order != sorted(order)


def test_a_cycle_goes_round_in_order_of_execution():
    three = cycle(Inflate(2), Inflate(3), Factorize())
    rules = [row.rule for row in lift(seeded(Tiny), three @ stages(1, 2)).receipt.converted]
    assert rules == ["Inflate(frames=2)", "Inflate(frames=3)", "Factorize(frames=3)", "Inflate(frames=2)"]
    video = lift(seeded(Backwards), cycle(Inflate(2), Inflate(3)), example=torch.zeros(1, 3, 16, 16))
    assert {row.layer: row.rule for row in video.receipt.converted} == {
        "early": "Inflate(frames=2)",
        "late": "Inflate(frames=3)",
    }
    with pytest.raises(UsageError, match="no single layer"):
        three(torch.nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: first(0), "at least 1"),
        (lambda: stages(), "which"),
        (lambda: top(0), "above 0"),
        (lambda: bottom(1.5), "at most 1"),
        (lambda: cycle(), "which conversions"),
        (lambda: "Inflate" @ first(1), "on the left stands a conversion"),
        (lambda: stages(1, 7).choose(trace(seeded(Tiny), torch.zeros(1, 3, 32, 32))[0]), "no stage 7"),
    ],
)
def test_places_that_cannot_be_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_stages_of_networks_without_names_are_those_of_the_map():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 3, padding=1),
        torch.nn.Conv2d(2, 2, 3, 2, 1),
        torch.nn.Conv2d(2, 2, 3, padding=1),
        torch.nn.Conv2d(2, 2, 3, 2, 1),
    )
    assert chosen(stages(2), net) == ["1", "2"]
    assert chosen(stages(1, 3), net) == ["0", "3"]
