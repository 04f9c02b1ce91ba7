"""P3D: Qiu et al. 2017, Learning Spatio-Temporal Representation with Pseudo-3D Residual Networks.

In the bottlenecks of res2 to res4 the 3 x 3 convolution becomes S (1 x 3 x 3) and T (3 x 1 x 1), in turn as
A: T(S(x)), B: S(x) + T(x), C: S(x) + T(S(x)), counted over all blocks; each part has its own norm and ReLU.
Time halves in the pools behind the stem, res2, res3 and res4, so that 16 frames are one in the 2-D res5.
"""

import re
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from timelift.conversions import Factorize, MaxPool
from timelift.lifting import VideoModel, lift
from timelift.networks.resnet import Norm, draw_kernels, resnet, shortcut
from timelift.networks.select import cycle, named
from timelift.systems.compose import all_new, take_image_weights, with_new
from timelift.systems.over_time import MeanOverTime
from timelift.systems.system import ImageStart, Published, State, System

_A = Factorize(3, "series", start="random", padding="zeros")


class UnitBottleneck(nn.Module):
    """1x1 with the stride, 3x3 as one unit with its norm and ReLU, 1x1 to four times the width."""

    expansion = 4

    def __init__(self, inp: int, width: int, stride: int, norm: Norm = nn.BatchNorm2d):
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(inp, width, 1, stride, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), norm(width), nn.ReLU())
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = norm(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inp, out, stride, norm)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, inp, H, W) -> (N, 4 width, H / stride, W / stride)."""
        out = self.conv2(self.relu(self.bn1(self.conv1(frames))))
        return self.relu(self.bn3(self.conv3(out)) + self.downsample(frames))


def p3d(
    depth: int,
    classes: int = 400,
    in_channels: int = 3,
    dropout: float = 0.5,
    image_state: State | None = None,
) -> VideoModel:
    """P3D on a residual network of this depth, on (B, in_channels, T, H, W) of any T.

    image_state: the 2-D weights; T starts random all the same. torchvision's are of blocks with the stride in
        the 3 x 3 convolution, where the paper has it in the first 1 x 1: a start, not the same 2-D answers.
    """
    net = resnet(depth, classes, in_channels, stem_pool=True, dropout=dropout, bottleneck=UnitBottleneck)
    fresh = () if image_state is None else take_image_weights(net, image_state, "fc")
    model = lift(
        net,
        cycle(_A, replace(_A, order="parallel"), replace(_A, order="both")) @ named("layer[123].*.conv2"),
        MaxPool(2) @ named("maxpool"),
        MaxPool(2) @ named("layer[123]"),
        MeanOverTime() @ named("avgpool"),
        example=torch.zeros(1, in_channels, 160, 160),
    )
    if image_state is not None:
        return with_new(model, fresh)
    draw_kernels(model)
    return all_new(model)


def _with_units(state: State) -> dict[str, Tensor]:
    """torchvision's keys -> those with the 3 x 3 convolution as a unit."""
    names = ((r"(\.\d+)\.conv2\.", r"\1.conv2.0."), (r"(\.\d+)\.bn2\.", r"\1.conv2.1."))
    renamed = {}
    for key, tensor in state.items():
        for pattern, ours in names:
            key = re.sub(pattern, ours, key)
        renamed[key] = tensor
    return renamed


def _system(depth: int) -> System:
    return System(
        partial(p3d, depth),
        "Qiu et al. 2017: P3D with A, B, C in turn",
        clip=(3, 16, 160, 160),
        small=(3, 2, 32, 32),
        image=ImageStart(f"torchvision:resnet{depth}", _with_units),
    )


SYSTEMS = {"p3d_63": _system(50), "p3d_131": _system(101), "p3d_199": _system(152)}

_SIZES = {
    "conv1": (16, 80, 80),
    "maxpool": (8, 40, 40),
    "layer1": (4, 40, 40),
    "layer2": (2, 20, 20),
    "layer3": (1, 10, 10),
    "layer4": (1, 5, 5),
}

PUBLISHED = (
    Published("p3d_199", "the authors' network description", {}, 66_492_240, gmacs=18.40, sizes=_SIZES),
    Published("p3d_63", "Qiu et al. 2017, Table 1: P3D ResNet-50 on UCF-101", {"classes": 101}, 25_132_581),
)
