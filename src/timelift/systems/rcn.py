"""RCN: Singh and Cuzzolin 2019, Recurrent Convolutions for Causal 3D CNNs. ResNets whose convolutions recur.

Causal, without stride or pool through time: a clip may have any length, and a stream needs no frame to come.
The half in h_t = (W h_{t-1} + x_t) / 2, the places in ResNet-50, RCLSTM and RCGRU are those of the authors'
detector, 3D-RetinaNet; we have not seen the paper's own equation.
"""

from functools import partial
from typing import Literal

import torch

from timelift.conversions import Inflate, Recur
from timelift.lifting import VideoModel, lift
from timelift.networks.resnet import resnet
from timelift.networks.select import Rule, named
from timelift.systems.compose import all_new, take_image_weights, with_new
from timelift.systems.system import ImageStart, Published, State, System

_BOTTLENECKS = ((0, 1, 2), (0, 2), (0, 2, 4), (0, 1))  # of layer1 to layer4: where I3D has 3x1x1


def rcn(
    depth: int,
    classes: int = 400,
    in_channels: int = 3,
    unit: Literal["rcn", "lstm", "gru"] = "rcn",
    start: Literal["identity", "random"] = "identity",
    halve: bool = True,
    stem: bool = False,
    image_state: State | None = None,
) -> VideoModel:
    """A ResNet on (B, in_channels, T, H, W), any T, with a recurrence behind the convolutions of its blocks.

    depth: 18 and 34, without the stem's pool; 50 with it, and the recurrence behind the first 1x1 convolution
        of ten bottlenecks. unit, start, halve: as Recur's.
    stem: one behind the stem, too.
    """
    net = resnet(depth, classes, in_channels, stem_pool=depth >= 50)
    fresh = () if image_state is None else take_image_weights(net, image_state, "fc")
    recur = Recur(unit, start, halve)
    places = ["layer?.*.conv?"] if depth < 50 else _in_bottlenecks()
    rules = [Rule(recur, named(place)) for place in [*places, *(["conv1"] if stem else [])]]
    model = lift(net, *rules, example=torch.zeros(1, in_channels, 64, 64))
    return all_new(model) if image_state is None else with_new(model, fresh)


def _in_bottlenecks() -> list[str]:
    return [f"layer{i}.{j}.conv1" for i, blocks in enumerate(_BOTTLENECKS, 1) for j in blocks]


def _system(depth: int, unit: Literal["rcn", "lstm", "gru"], paper: str) -> System:
    build = (
        partial(rcn, depth=depth, unit=unit)
        if unit == "rcn"
        else partial(rcn, depth=depth, unit=unit, halve=True)
    )
    size = 112 if depth < 50 else 224
    image = ImageStart(f"torchvision:resnet{depth}", dict)
    return System(build, paper, clip=(3, 8, size, size), small=(3, 4, 32, 32), image=image)


_PAPER = "Singh and Cuzzolin 2019"

SYSTEMS = {
    "rcn_18": _system(18, "rcn", f"{_PAPER}: RCN on ResNet-18"),
    "rcn_34": _system(34, "rcn", f"{_PAPER}: RCN on ResNet-34"),
    "rcn_50": _system(50, "rcn", f"{_PAPER}, and the authors' 3D-RetinaNet: RCN on ResNet-50"),
    "rclstm_18": _system(18, "lstm", f"{_PAPER}, and the authors' 3D-RetinaNet: RCLSTM on ResNet-18"),
    "rcgru_18": _system(18, "gru", f"{_PAPER}, and the authors' 3D-RetinaNet: RCGRU on ResNet-18"),
}

_SIZES_18 = {"layer1": (8, 56, 56), "layer2": (8, 28, 28), "layer3": (8, 14, 14), "layer4": (8, 7, 7)}

_DETECTOR = "the authors' 3D-RetinaNet"


def _i3d_in_its_places() -> VideoModel:
    """The baseline beside RCN-50: 3x1x1 convolutions in the places of its recurrences."""
    rules = [Inflate(3) @ named(place) for place in _in_bottlenecks()]
    return lift(resnet(50, stem_pool=True), *rules, example=torch.zeros(1, 3, 64, 64))


PUBLISHED = (
    Published("rcn_18", f"{_PAPER}, 12.8 M", parameters=12_774_352, gmacs=15.24, sizes=_SIZES_18),
    Published(
        "rcn_18",
        f"{_PAPER}, 12.8 M",
        {"stem": True},
        parameters=12_778_448,
        explained="with a recurrence behind the stem too; 12.8 M is the rounded number of both readings",
    ),
    Published("rcn_50", _DETECTOR, parameters=25_093_584),
    Published("rcn_50", f"{_DETECTOR}: in 2-D", parameters=24_327_632, of=partial(resnet, 50)),
    Published("rcn_50", f"{_DETECTOR}: its I3D", parameters=29_054_416, of=_i3d_in_its_places),
)
