"""LeNet-5-3D: the baseline of Ras et al. 2018, Temporal Factorization of 3D Convolutional Kernels.

5x5x5 convolutions (padding 2, then 0), ReLU, 2x2x2 max pools; then the whole map, time included, goes through
three fully connected layers of 120, 84 and `classes`.
"""

from collections import OrderedDict

import torch
from torch import nn

from timelift.clip import Clipwise
from timelift.conversions import Inflate, MaxPool
from timelift.lifting import VideoModel, lift
from timelift.networks.select import named
from timelift.records.errors import UsageError
from timelift.systems.compose import TimeToChannels, all_new, with_head
from timelift.systems.system import Published, System


def lenet5_3d(
    classes: int = 10,
    channels: tuple[int, int] = (12, 22),
    in_channels: int = 1,
    frames: int = 30,
    size: int = 28,
) -> VideoModel:
    """LeNet-5-3D on (B, in_channels, frames, size, size), random; 375,668 parameters at the defaults.

    Raises:
        UsageError: for fewer than 12 frames or pixels, of which the pools leave nothing.
    """
    length, side = _after_pools(frames, "frames"), _after_pools(size, "size")
    first, second = channels
    features = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, first, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
        )
    )
    video = lift(
        features,
        Inflate(5, "random", padding="zeros") @ named("conv1"),
        Inflate(5, "random", padding="valid") @ named("conv2"),
        MaxPool(2, padding="valid") @ named("pool*"),
        example=torch.zeros(1, in_channels, size, size),
    )
    head = nn.Sequential(
        OrderedDict(
            whole_clip=Clipwise(TimeToChannels(length), "head.whole_clip"),
            flatten=nn.Flatten(),
            fc1=nn.Linear(second * length * side * side, 120),
            relu1=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu2=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )
    return all_new(with_head(video, head))


def _after_pools(length: int, name: str) -> int:
    left = (length // 2 - 4) // 2
    if left < 1:
        raise UsageError(f"lenet5_3d: {name}={length}; its pools leave something of 12 or more")
    return left


SYSTEMS = {
    "lenet5_3d": System(
        lenet5_3d, "Ras et al. 2018, Table 2: LeNet-5-3D", clip=(1, 30, 28, 28), small=(1, 12, 12, 12)
    ),
}

_SIZES = {
    "features.conv1": (30, 28, 28),
    "features.pool1": (15, 14, 14),
    "features.conv2": (11, 10, 10),
    "features.pool2": (5, 5, 5),
}
_TABLE = "Ras et al. 2018, Table 2"

PUBLISHED = (
    Published("lenet5_3d", _TABLE, {"channels": (12, 22)}, parameters=375_668, sizes=_SIZES),
    Published("lenet5_3d", _TABLE, {"channels": (18, 28)}, parameters=496_430, sizes=_SIZES),
)
