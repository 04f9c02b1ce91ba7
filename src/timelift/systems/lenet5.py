"""LeNet-5-3D and LeNet-5-3DTTN (Ras et al. 2018, Temporal Factorization of 3D Convolutional Kernels).

Convolutions of 5 slices of 5x5 (padding 2, then 0), ReLU, 2x2x2 max pools; then the whole map, time included,
goes through three fully connected layers of 120, 84 and `classes`. LeNet-5-3D learns every slice; 3DTTN one
slice a filter, and the motions that make the others of it.
"""

from collections import OrderedDict
from typing import Any, Literal

import torch
from torch import nn

from timelift.clip import Clipwise
from timelift.conversions import Inflate, MaxPool, Transform
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
    start: Literal["kaiming", "normal"] = "kaiming",
) -> VideoModel:
    """LeNet-5-3D on (B, in_channels, frames, size, size), random; 375,668 parameters at the defaults.

    start: of the convolutions, "kaiming" as the paper says and PyTorch does; "normal" draws their weights and
        biases from N(0, 1), as a later version of the authors' code may have done. The paper trains on raw
        pixels, 0 to 255, with SGD at 5e-8, momentum 0.9, batches of 20.

    Raises:
        UsageError: for fewer than 12 frames or pixels, of which the pools leave nothing, or another start.
    """
    _check_start(start)
    early, late = (Inflate(5, "random", padding="zeros"), Inflate(5, "random", padding="valid"))
    model = _lenet5(early, late, classes, channels, in_channels, frames, size)
    if start == "normal":
        for name in ("conv1", "conv2"):
            for tensor in model.get_submodule(f"image_net.features.{name}").parameters():
                nn.init.normal_(tensor)
    return model


def lenet5_3dttn(
    classes: int = 10,
    channels: tuple[int, int] = (4, 14),
    in_channels: int = 1,
    frames: int = 30,
    size: int = 28,
    shared: bool = False,
    start: Literal["kaiming", "normal"] = "normal",
) -> VideoModel:
    """LeNet-5-3DTTN on (B, in_channels, frames, size, size), random; 222,940 parameters at the defaults.

    Nothing moves at first. The paper trains on raw pixels, 0 to 255, SGD at
    5e-8 (2.5e-8 for some rows), momentum 0.9, batches of 20: pixels of another scale want another rate.

    shared: one motion a filter, repeated: slice t is K0 moved t times, as in the paper's text.
    start: K0 from N(0, 1), as the paper's; "kaiming" draws it as PyTorch draws a slice of a 5x5x5 kernel.

    Raises:
        UsageError: for fewer than 12 frames or pixels, of which the pools leave nothing, or another start.
    """
    _check_start(start)
    early = Transform(5, shared=shared, start="normal", padding="zeros")
    late = Transform(5, shared=shared, start="normal", padding="valid")
    model = _lenet5(early, late, classes, channels, in_channels, frames, size)
    if start == "kaiming":
        for k0 in (tensor for name, tensor in model.named_parameters() if name.endswith(".k0")):
            nn.init.uniform_(k0, -_bound(k0.shape[1]), _bound(k0.shape[1]))
    return model


def _check_start(start: str) -> None:
    if start not in ("kaiming", "normal"):
        raise UsageError(f"LeNet-5: start={start!r}; there are kaiming and normal")


def _lenet5(
    early: Any,
    late: Any,
    classes: int,
    channels: tuple[int, int],
    in_channels: int,
    frames: int,
    size: int,
) -> VideoModel:
    """LeNet-5 with its first convolution lifted by `early`, its second by `late`."""
    length, side = _after_pools(frames, "frames"), _after_pools(size, "size")
    first, second = channels
    features = nn.Sequential(
        OrderedDict(
            conv1=_conv(in_channels, first, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=_conv(first, second, padding=0),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
        )
    )
    video = lift(
        features,
        early @ named("conv1"),
        late @ named("conv2"),
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


def _conv(inp: int, out: int, padding: int) -> nn.Conv2d:
    """A 5x5 convolution whose bias starts as PyTorch starts that of a 5x5x5 one."""
    conv = nn.Conv2d(inp, out, 5, padding=padding)
    bound = _bound(inp)
    conv.bias = nn.Parameter(conv.weight.new_empty(out).uniform_(-bound, bound))
    return conv


def _bound(inp: int) -> float:
    """What PyTorch draws weights and biases of a 5x5x5 convolution within (He et al. 2015, a=sqrt(5))."""
    return (inp * 5**3) ** -0.5


def _after_pools(length: int, name: str) -> int:
    left = (length // 2 - 4) // 2
    if left < 1:
        raise UsageError(f"LeNet-5: {name}={length}; its pools leave something of 12 or more")
    return left


SYSTEMS = {
    "lenet5_3d": System(
        lenet5_3d, "Ras et al. 2018, Table 2: LeNet-5-3D", clip=(1, 30, 28, 28), small=(1, 12, 12, 12)
    ),
    "lenet5_3dttn": System(
        lenet5_3dttn, "Ras et al. 2018, Table 2: LeNet-5-3DTTN", clip=(1, 30, 28, 28), small=(1, 12, 12, 12)
    ),
}

_SIZES = {
    "features.conv1": (30, 28, 28),
    "features.pool1": (15, 14, 14),
    "features.conv2": (11, 10, 10),
    "features.pool2": (5, 5, 5),
}
_TABLE = "Ras et al. 2018, Table 2"
_SHARED = "Ras et al. 2018, section 3.1: one shared transformation"

PUBLISHED = (
    Published("lenet5_3d", _TABLE, {"channels": (12, 22)}, parameters=375_668, sizes=_SIZES),
    Published("lenet5_3d", _TABLE, {"channels": (18, 28)}, parameters=496_430, sizes=_SIZES),
    Published("lenet5_3dttn", _TABLE, {"channels": (18, 28)}, parameters=444_966, sizes=_SIZES),
    Published("lenet5_3dttn", _TABLE, {"channels": (12, 22)}, parameters=348_612, sizes=_SIZES),
    Published("lenet5_3dttn", _TABLE, {"channels": (4, 14)}, parameters=222_940, sizes=_SIZES),
    Published("lenet5_3dttn", _TABLE, {"channels": (6, 16)}, parameters=254_058, sizes=_SIZES),
    Published("lenet5_3dttn", _SHARED, {"channels": (18, 28), "shared": True}, parameters=444_414),
    Published("lenet5_3dttn", _SHARED, {"channels": (12, 22), "shared": True}, parameters=348_204),
    Published("lenet5_3dttn", _SHARED, {"channels": (4, 14), "shared": True}, parameters=222_724),
    Published("lenet5_3dttn", _SHARED, {"channels": (6, 16), "shared": True}, parameters=253_794),
)
