"""C3D: 3x3x3 convolutions throughout.

Tran et al. 2015, Learning Spatiotemporal Features with 3D Convolutional Networks; with batch norm as in Tran
et al. 2018. The first pool is 1x2x2, so that time is not merged early; the others are 2x2x2. Caffe's pools
round up: at 112 pixels fc6 sees 512 x 1 x 4 x 4. Pools that round down leave 512 x 1 x 3 x 3.
"""

from collections.abc import Sequence

import torch
from torch import nn

from timelift.conversions import Inflate, MaxPool
from timelift.lifting import VideoModel, lift
from timelift.networks.select import every, named
from timelift.networks.vgg_like import behind_pools, vgg_features
from timelift.systems.compose import all_new, with_head
from timelift.systems.dense_head import dense_head
from timelift.systems.system import Published, System

_WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_SMALL_WIDTHS = ((64,), (128,), (256,), (256,), (256,))


def c3d(
    classes: int = 487, in_channels: int = 3, frames: int = 16, size: int = 112, dropout: float = 0.5
) -> VideoModel:
    """The network of Sports-1M: 8 convolutions, two layers of 4096; 79,991,015 parameters at the defaults."""
    left = behind_pools("c3d", frames, size, ceil=True)
    features = _lifted(_WIDTHS, in_channels, size, depth=3, ceil=True)
    return _gaussian(all_new(with_head(features, dense_head(512, *left, (4096, 4096), classes, dropout))))


def c3d_bn(
    classes: int = 400, in_channels: int = 3, frames: int = 16, size: int = 112, dropout: float = 0.5
) -> VideoModel:
    """C3D with batch norm and pools that round down, as its authors compared it on Kinetics-400.

    Raises:
        UsageError: for fewer than 16 frames or 32 pixels, of which the pools leave nothing.
    """
    left = behind_pools("c3d_bn", frames, size)
    features = _lifted(_WIDTHS, in_channels, size, depth=3, ceil=False, norm=True)
    return all_new(with_head(features, dense_head(512, *left, (4096, 4096), classes, dropout)))


def c3d_small(
    classes: int = 101,
    in_channels: int = 3,
    frames: int = 16,
    size: int = 112,
    depth: int = 3,
    dropout: float = 0.5,
) -> VideoModel:
    """The 5-convolution network of the paper's search for the best kernel in time, `depth` frames long."""
    left = behind_pools("c3d_small", frames, size, ceil=True)
    features = _lifted(_SMALL_WIDTHS, in_channels, size, depth=depth, ceil=True)
    return _gaussian(all_new(with_head(features, dense_head(256, *left, (2048, 2048), classes, dropout))))


def _lifted(
    widths: Sequence[Sequence[int]], in_channels: int, size: int, depth: int, ceil: bool, norm: bool = False
) -> VideoModel:
    return lift(
        vgg_features(widths, in_channels, ceil=ceil, norm=norm),
        Inflate(depth, "random", padding="zeros") @ every,
        MaxPool(2, padding="same" if ceil else "valid") @ named("pool[2-5]"),
        example=torch.zeros(1, in_channels, size, size),
    )


def _gaussian(model: VideoModel) -> VideoModel:
    """The paper's start: N(0, 0.01), in fc6 and fc7 N(0, 0.005); biases 1, in the first and last layer 0."""
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")]
    for bias in biases:
        nn.init.constant_(bias, 0.0 if bias is biases[0] or bias is biases[-1] else 1.0)
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(parameter, std=0.005 if "fc6" in name or "fc7" in name else 0.01)
    return model


_FIGURES = "Tran et al. 2015, the authors' prototxt"

SYSTEMS = {
    "c3d": System(
        c3d,
        "Tran et al. 2015: C3D (Sports-1M)",
        clip=(3, 16, 112, 112),
        small=(3, 4, 32, 32),
        small_options={"frames": 4, "size": 32},
    ),
    "c3d_bn": System(
        c3d_bn,
        "Tran et al. 2018: C3D with batch norm",
        clip=(3, 16, 112, 112),
        small=(3, 16, 32, 32),
        small_options={"frames": 16, "size": 32},
    ),
    "c3d_small": System(
        c3d_small,
        "Tran et al. 2015, section 3.2: the network of the kernel-depth study",
        clip=(3, 16, 112, 112),
        small=(3, 4, 32, 32),
        small_options={"frames": 4, "size": 32},
    ),
}

_ZOO = "Tran et al. 2018, the authors' model zoo"

_SIZES = {
    "features.conv1a": (16, 112, 112),
    "features.pool1": (16, 56, 56),
    "features.pool2": (8, 28, 28),
    "features.pool3": (4, 14, 14),
    "features.pool4": (2, 7, 7),
    "features.pool5": (1, 4, 4),
}
_FLOORED = _SIZES | {"features.pool5": (1, 3, 3)}

PUBLISHED = (
    Published("c3d", _FIGURES, {"classes": 487}, parameters=79_991_015, sizes=_SIZES),
    Published("c3d", _FIGURES, {"classes": 101}, parameters=78_409_573),
    Published("c3d", _FIGURES, parameters=27_655_936, part="features"),
    Published("c3d", _FIGURES, gmacs=38.50, dense=False),
    Published("c3d_bn", _ZOO, parameters=64_960_016, gmacs=38.5, decimals=1, sizes=_FLOORED),
    Published("c3d_bn", _ZOO, gmacs=38.50, dense=False),
    Published("c3d_small", _FIGURES, {"depth": 1}, parameters=14_344_933),
    Published("c3d_small", _FIGURES, {"depth": 3}, parameters=17_444_965, sizes=_SIZES),
    Published("c3d_small", _FIGURES, {"depth": 5}, parameters=20_544_997),
    Published("c3d_small", _FIGURES, {"depth": 7}, parameters=23_645_029),
)
