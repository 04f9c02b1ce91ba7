"""S3D and S3D-G: Xie et al. 2018, Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs.

Inception-v1 whose k x k convolutions are followed by k x 1 x 1 ones, each with batch norm and ReLU, zeros
around in space and time. Layout and figures are those of the released PyTorch networks.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from timelift.conversions import Factorize, Gate, Inflate, MaxPool
from timelift.conversions.factorized import SeriesFactorized
from timelift.lifting import VideoModel, lift
from timelift.networks.select import Rule, named
from timelift.records.errors import UsageError
from timelift.systems.compose import all_new, with_new
from timelift.systems.i3d import GOOGLENET
from timelift.systems.inception_time import PLACES, MeanOfTwo, image_net, places_in_time, unit_at
from timelift.systems.s3d_torchvision import TORCHVISION
from timelift.systems.system import Published, State, System

POOLS = (  # symmetric in time: what is repeated at a window's end never changes its maximum
    MaxPool(3, 2, padding="replicate") @ named("pool_4a"),
    MaxPool(2, 2, padding="valid") @ named("pool_5a"),
    MaxPool(3, 1, padding="replicate") @ named("mixed_*.branch3.pool"),
    MeanOfTwo() @ named("pool"),
)


def s3d(
    classes: int = 400,
    in_channels: int = 3,
    stem: Literal["separable", "3d"] = "separable",
    stem_frames: int = 7,
    temporal_from: str = "1a",
    temporal_until: str | None = None,
    gated: bool = False,
    dropout: float = 0.2,
    momentum: float = 0.001,
    image_state: State | None = None,
) -> VideoModel:
    """S3D on (B, in_channels, T, H, W) of 5 frames and more.

    stem: the first convolution, separable or one 3-D kernel, `stem_frames` long: the authors found 3 as good.
    temporal_from, temporal_until: the blocks from one on (top-heavy), or strictly below another
        (bottom-heavy), look through time: "1a", "2c", "3b" ... "5c".
    gated: S3D-G's gates, behind conv_2c and behind every branch of every block.
    momentum: of the batch norms' statistics; 0.001 is for long trainings, take 0.1 for some hundred steps.
    image_state: around an image network's weights every frame is answered as it answers, pools apart.

    Raises:
        UsageError: for a block or a stem that there is not.
        ClipTooShort: in its forward, for fewer than 5 frames.
    """
    net, fresh = image_net(classes, in_channels, "symmetric", dropout, momentum, image_state)
    chosen = places_in_time(PLACES, temporal_from, temporal_until)
    separable = Factorize(3, start="random" if image_state is None else "identity", padding="zeros")
    rules = [_stem(stem, stem_frames if "1a" in chosen else 1, random=image_state is None)]
    if gated:
        rules.append((SeparableGated(separable) if "2c" in chosen else Gate()) @ named("conv_2c"))
        rules.append(Gate() @ named("mixed_*.branch?"))
    rest = PLACES[2:] if gated else PLACES[1:]
    rules += [separable @ named(unit_at(place)) for place in chosen if place in rest]
    video = lift(net, *rules, *POOLS, example=torch.zeros(1, in_channels, 64, 64))
    return all_new(video) if image_state is None else with_new(_as_on_frames(video), fresh)


@dataclass(frozen=True)
class SeparableGated:
    """A separable unit with a gate behind it: a layer takes one conversion, and these are two."""

    separable: Factorize

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The unit on clips, then the gate."""
        gate = list(Gate()(layer).children())[-1]
        return nn.Sequential(self.separable(layer), gate)


def _stem(stem: str, frames: int, random: bool) -> Rule:
    if stem not in ("separable", "3d"):
        raise UsageError(f"stem={stem!r}: there are separable and 3d")
    if stem == "separable" and frames > 1:
        start: Literal["random", "identity"] = "random" if random else "identity"
        return Factorize(frames, start=start, padding="zeros", stride="spatial") @ named("conv_1a")
    kernel = Inflate(frames, "random" if random else "average", padding="zeros", stride="spatial")
    return kernel @ named("conv_1a.conv")


def _as_on_frames(video: VideoModel) -> VideoModel:
    """Every norm behind an identity through time is one itself, its eps included."""
    for module in video.modules():
        if isinstance(module, SeriesFactorized):
            for norm in module.behind.modules():
                if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
                    norm.running_var.fill_(1 - norm.eps)
    return video


_CLIP, _SMALL = (3, 64, 224, 224), (3, 8, 32, 32)
_PAPER = "Xie et al. 2018"

SYSTEMS = {
    "s3d": System(s3d, f"{_PAPER}: S3D", _CLIP, _SMALL, image=GOOGLENET, layouts=(TORCHVISION,)),
    "s3dg": System(
        partial(s3d, gated=True), f"{_PAPER}: S3D-G, S3D with gates", _CLIP, _SMALL, image=GOOGLENET
    ),
}

_RELEASED = "the released PyTorch networks"
_QUOTED = "a quoted figure, not checked in the paper; no layout that was released gives it"
_SIZES = {
    "conv_1a": (32, 112, 112),
    "pool_3a": (32, 28, 28),
    "pool_4a": (16, 14, 14),
    "pool_5a": (8, 7, 7),
    "pool": (7, 1, 1),
}

PUBLISHED = (
    Published("s3d", _RELEASED, parameters=8_320_048, gmacs=71.916, decimals=3, sizes=_SIZES),
    Published("s3d", _RELEASED, gmacs=17.979, decimals=3, clip=(3, 16, 224, 224)),
    Published("s3d", _PAPER, {"classes": 200}, parameters=8_115_048),
    Published("s3d", _PAPER, {"stem": "3d"}, parameters=8_347_696, gmacs=79.29),
    Published(
        "s3d",
        "the authors' TensorFlow release",
        {"stem": "3d", "stem_frames": 3},
        parameters=8_310_064,
        gmacs=64.18,
    ),
    Published("s3d", f"{_PAPER}, Table 2", mega_parameters=8.77, gmacs=66.38, explained=_QUOTED),
    Published("s3dg", f"{_PAPER}, Table 2", mega_parameters=11.56, gmacs=71.38, explained=_QUOTED),
)
