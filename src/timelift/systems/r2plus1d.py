"""R(2+1)D: Tran et al. 2018, A Closer Look at Spatiotemporal Convolutions, section 3.5.

Every convolution of the residual network is split: 1 x k x k to the mid-planes, norm, ReLU, 3 x 1 x 1. The
spatial stride is the first one's, the temporal stride, where there is one, the second's; zeros pad in time.
"""

from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import nn

from timelift.conversions import Factorize
from timelift.conversions.factorize import midplanes as matched
from timelift.lifting import VideoModel, lift
from timelift.networks.resnet import draw_kernels, resnet
from timelift.networks.select import every, named
from timelift.records.errors import UsageError
from timelift.systems.compose import all_new
from timelift.systems.over_time import MeanOverTime
from timelift.systems.resnet_layouts import split_kernels
from timelift.systems.system import Published, System

_SPLIT = Factorize(3, "series", "matched", "norm-act", "random", padding="zeros", stride="spatial")
_STEM = replace(_SPLIT, width=45, stride="none")  # 45 is the authors' own number; matched, it would be 83


def r2plus1d(
    depth: int,
    classes: int = 400,
    in_channels: int = 3,
    midplanes: Literal["vmz", "torchvision"] = "vmz",
    norm_eps: float = 1e-5,
) -> VideoModel:
    """R(2+1)D on (B, in_channels, T, H, W) of any T, random.

    midplanes: "vmz" matches every convolution's parameters with its own channels in and out, as the paper's
        formula says; "torchvision" takes a block's first convolution's number for its second, too.
    norm_eps: 1e-5 is torchvision's, for its weights; 1e-3 is that of the authors' Caffe2 code.

    Raises:
        UsageError: for other midplanes.
    """
    if midplanes not in ("vmz", "torchvision"):
        raise UsageError(f"midplanes={midplanes!r}: there are vmz and torchvision")
    model = lift(
        resnet(depth, classes, in_channels),
        _STEM @ named("conv1"),
        *(_per_block() if midplanes == "torchvision" else ()),
        _SPLIT @ every,
        MeanOverTime() @ named("avgpool"),
        example=torch.zeros(1, in_channels, 112, 112),
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # those between space and time among them
            module.eps = norm_eps
    draw_kernels(model)
    return all_new(model)


def _per_block() -> list:
    """Only the second convolution of a block that changes the width differs."""
    return [
        replace(_SPLIT, width=matched(3, 3, 3, width // 2, width)) @ named(f"layer{stage}.0.conv2")
        for stage, width in ((2, 128), (3, 256), (4, 512))
    ]


_PAPER = "Tran et al. 2018, section 3.5: R(2+1)D"

SYSTEMS = {
    "r2plus1d_18": System(
        partial(r2plus1d, 18),
        _PAPER,
        clip=(3, 16, 112, 112),
        small=(3, 4, 32, 32),
        layouts=(split_kernels("torchvision:r2plus1d_18"),),
    ),
    "r2plus1d_34": System(
        partial(r2plus1d, 34),
        _PAPER,
        clip=(3, 32, 112, 112),
        small=(3, 4, 32, 32),
        layouts=(split_kernels(),),
    ),
}

_VMZ = "Tran et al. 2018, Table 1; the authors' code VMZ"
_META = "torchvision's description of its weights"
_SIZES = {
    "conv1": (16, 56, 56),
    "layer1": (16, 56, 56),
    "layer2": (8, 28, 28),
    "layer3": (4, 14, 14),
    "layer4": (2, 7, 7),
}

PUBLISHED = (
    Published("r2plus1d_18", _VMZ, {}, 33_370_839, gmacs=20.75, clip=(3, 8, 112, 112)),
    Published("r2plus1d_18", _VMZ, {}, 33_370_839, gmacs=41.50, sizes=_SIZES),
    Published("r2plus1d_18", _META, {"midplanes": "torchvision"}, 31_505_325, gmacs=40.519, decimals=3),
    Published("r2plus1d_34", _VMZ, {}, 63_697_175, gmacs=152.36),
)
