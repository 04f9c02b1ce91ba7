"""I3D: Carreira and Zisserman 2017, Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset.

Inception-v1 whose k x k convolutions and pools become k x k x k. And what Xie et al. 2018 make of it: I2D,
top-heavy (3-D from a block on) and bottom-heavy (3-D below a block); the pools through time stay.
"""

from functools import partial

import torch

from timelift.conversions import Inflate, MaxPool
from timelift.conversions.inflate import Start
from timelift.lifting import VideoModel, lift
from timelift.networks.inception_v1 import keys_of_googlenet
from timelift.networks.select import Rule, named
from timelift.systems.compose import all_new, with_new
from timelift.systems.i3d_port import PORT
from timelift.systems.inception_time import PLACES, MeanOfTwo, image_net, places_in_time, unit_at
from timelift.systems.system import MINUS_ONE_TO_ONE, ImageStart, Published, State, System

POOLS = (  # SAME, as every padding of I3D
    MaxPool(3, 2) @ named("pool_4a"),
    MaxPool(2, 2) @ named("pool_5a"),
    MaxPool(3, 1) @ named("mixed_*.branch3.pool"),
    MeanOfTwo() @ named("pool"),
)


def i3d(
    classes: int = 400,
    in_channels: int = 3,
    temporal_from: str = "1a",
    temporal_until: str | None = None,
    dropout: float = 0.5,
    momentum: float = 0.001,
    image_state: State | None = None,
) -> VideoModel:
    """I3D on (B, in_channels, T, H, W) of any T; in_channels=2 for optical flow, as its second stream.

    temporal_from, temporal_until: the convolutions from one block on (top-heavy), or strictly below another
        (bottom-heavy), are 3-D, the others 2-D: "1a", "2c", "3b" ... "5c".
    momentum: of the batch norms' statistics; 0.001 is for long trainings, take 0.1 for some hundred steps.

    Raises:
        UsageError: for a block that there is not.
    """
    net, fresh = image_net(classes, in_channels, "same", dropout, momentum, image_state)
    start: Start = "random" if image_state is None else "average"
    chosen = places_in_time(PLACES, temporal_from, temporal_until)
    stem = Inflate(7 if "1a" in chosen else 1, start, padding="same", stride="spatial")
    rules: list[Rule] = [stem @ named("conv_1a.conv")]
    for place in chosen:
        if place != "1a":
            rules.append(Inflate(3, start, padding="same") @ named(f"{unit_at(place)}.conv"))
    video = lift(net, *rules, *POOLS, example=torch.zeros(1, in_channels, 64, 64))
    return all_new(video) if image_state is None else with_new(video, fresh)


GOOGLENET = ImageStart("torchvision:googlenet", keys_of_googlenet, pixels=MINUS_ONE_TO_ONE)
_CLIP, _SMALL = (3, 64, 224, 224), (3, 8, 32, 32)
_PAPER = "Carreira and Zisserman 2017"
_XIE = "Xie et al. 2018"

SYSTEMS = {
    "i3d": System(i3d, f"{_PAPER}: I3D", _CLIP, _SMALL, image=GOOGLENET, layouts=(PORT,)),
    "i2d": System(
        partial(i3d, temporal_from="1a", temporal_until="1a"),
        f"{_XIE}: I2D, I3D without a 3-D convolution",
        _CLIP,
        _SMALL,
        image=GOOGLENET,
    ),
}

_TABLE = f"{_PAPER}, the authors' layer table"
_SIZES = {
    "conv_1a": (32, 112, 112),
    "pool_2a": (32, 56, 56),
    "conv_2c": (32, 56, 56),
    "pool_3a": (32, 28, 28),
    "mixed_3c": (32, 28, 28),
    "pool_4a": (16, 14, 14),
    "mixed_4f": (16, 14, 14),
    "pool_5a": (8, 7, 7),
    "mixed_5c": (8, 7, 7),
    "pool": (7, 1, 1),
}
_SWEEP = {  # first 3-D block: (parameters in 10^6, GMAC), and bottom-heavy with 3-D strictly below it
    "1a": (12.49, 111.2, 5.80, 36.9),
    "2c": (12.44, 88.5, 5.86, 59.5),
    "3b": (12.21, 66.3, 6.08, 81.7),
    "3c": (11.98, 60.5, 6.31, 87.5),
    "4b": (11.49, 48.0, 6.81, 100.0),
    "4f": (9.23, 41.0, 9.06, 107.1),
    "5b": (8.24, 37.8, 10.06, 110.2),
    "5c": (7.24, 37.5, 11.05, 110.6),
}


def _swept(place: str, mega: float, gmacs: float, option: str) -> Published:
    source = f"{_XIE}, section 4: where 3-D convolutions stand"
    told = {"classes": 200, option: place}
    return Published("i3d", source, told, mega_parameters=mega, gmacs=gmacs, decimals=1)


PUBLISHED = (
    Published("i3d", _TABLE, parameters=12_697_264, gmacs=111.15, sizes=_SIZES),
    Published("i3d", _XIE, {"classes": 200}, parameters=12_492_264),
    Published("i2d", _XIE, parameters=6_009_904, gmacs=36.89, sizes=_SIZES),
    Published("i2d", _XIE, {"classes": 200}, parameters=5_804_904),
    *(_swept(place, top[0], top[1], "temporal_from") for place, top in _SWEEP.items()),
    *(_swept(place, low[2], low[3], "temporal_until") for place, low in _SWEEP.items()),
    Published(
        "i3d",
        f"{_XIE}, Table 1",
        mega_parameters=12.06,
        gmacs=107.89,
        explained="a quoted figure, not checked in the paper; no released layout, and no padding, gives it",
    ),
)
