"""S3D-v3: Gupta, Dharmaraj and Hayes, Reproducing Action Recognition Experiments with Modern Networks.

Inception-v3 whose k x k convolutions are followed by k x 1 x 1 ones, and whose pairs 1x7, 7x1 by 7 x 1 x 1,
each with batch norm and ReLU. SAME in space and time but for the two reductions, which are not padded. The
figures that place the temporal convolutions are lost: ours stand behind every k x k convolution and every
pair, as wide as what it gives, and 3 x 1 x 1 before every fork into 1x3 and 3x1.
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions import AvgPool, ClipTooShort, Factorize, Inflate, MaxPool
from timelift.conversions.padding import TimePadding
from timelift.conversions.temporal import TemporalConv, random_through_time
from timelift.lifting import VideoModel, lift
from timelift.networks.inception_v3 import inception_v3
from timelift.networks.select import Rule, named
from timelift.systems.compose import all_new
from timelift.systems.inception_time import places_in_time
from timelift.systems.system import Published, System

PLACES = ("1a", "2a", "2b", "4a", "5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_STEM, _REDUCTIONS = PLACES[:4], ("6a", "7a")


def s3d_v3(
    classes: int = 5,
    in_channels: int = 3,
    size: int = 224,
    temporal_from: str = "1a",
    temporal_until: str | None = None,
    joint: bool = False,
    reduction: Literal["valid", "same"] = "valid",
    auxiliary: Literal["batch", "dropout"] | None = None,
    dropout: float = 0.2,
    momentum: float = 0.1,
) -> VideoModel:
    """S3D-v3 on (B, in_channels, T, H, W) of 49 frames and more; of any T with reduction="same".

    size: H and W, for which an auxiliary head is made; without one, any from 49.
    temporal_from, temporal_until: the layers from one on (top-heavy), or strictly below another, look through
        time: "1a", "2a", "2b", "4a", "5b" ... "7c". The paper's "after layer 9" is read as from "5d" on.
    joint: 7x1x7 and 7x7x1 kernels in place of 1x1x7, 1x7x1 and 7x1x1, as the paper proposes for later.
    reduction: the padding in time of the two reductions; "same" is for clips under 49 frames.
    auxiliary: a head for the loss alone, with batch norm or with dropout in it.

    Raises:
        UsageError: for a layer that there is not, or an auxiliary head on maps that are too small for one.
        ClipTooShort: in its forward, for fewer than 49 frames under reduction="valid".
    """
    net = inception_v3(classes, in_channels, dropout, momentum, auxiliary, size)
    chosen = places_in_time(PLACES, temporal_from, temporal_until)
    rules = [rule for place in PLACES for rule in _rules(place, place in chosen, joint, reduction, momentum)]
    pools = (
        MaxPool(3, 2) @ named("pool_?a"),
        *(MaxPool(3, 2, reduction) @ named(f"mixed_{place}.branch2.pool") for place in _REDUCTIONS),
        AvgPool(3, 1) @ named("mixed_*.branch3.pool"),
    )
    return all_new(lift(net, *rules, *pools, example=torch.zeros(1, in_channels, 96, 96)))


def _rules(place: str, in_time: bool, joint: bool, reduction: TimePadding, momentum: float) -> list[Rule]:
    """What becomes of the convolutions of one place."""
    block = f"conv_{place}" if place in _STEM else f"mixed_{place}"
    if not in_time:
        return _without_time(place, reduction)
    if place in _STEM:
        return [_separable(3, stride="spatial" if place == "1a" else "none") @ named(block)]
    rules = []
    if place in _REDUCTIONS:
        rules.append(_separable(3, reduction, "spatial") @ named(f"{block}.*.halve"))
    if place[0] == "5":
        rules.append(_separable(5) @ named(f"{block}.*.conv_5x5"))
    if place[0] == "5" or place in ("6a", "7b", "7c"):
        rules.append(_separable(3) @ named(f"{block}.*_3x3"))
    if place in ("7b", "7c"):
        rules.append(TimeUnit(3, 384, momentum) @ named(f"{block}.*.before"))
    if place in ("6b", "6c", "6d", "6e", "7a"):
        rules += _pairs(block, joint, branches=1 if place == "7a" else 2)
    return rules


def _separable(
    frames: int, padding: TimePadding = "same", stride: Literal["none", "spatial"] = "none"
) -> Factorize:
    return Factorize(frames, start="random", padding=padding, stride=stride)


def _pairs(block: str, joint: bool, branches: int) -> list[Rule]:
    """A 7 x 1 x 1 convolution behind the second of each pair, or both of them through time."""
    if joint:
        return [Inflate(7, "random", padding="same") @ named(f"{block}.*_[17]x[17].conv")]
    seconds = ("branch1.conv_7x1", "branch2.*_1x7")[:branches]
    return [_separable(7) @ named(f"{block}.{second}") for second in seconds]


def _without_time(place: str, reduction: TimePadding) -> list[Rule]:
    """2-D convolutions; those with a stride in space keep it in time."""
    if place not in ("1a", *_REDUCTIONS):
        return []
    if place in _REDUCTIONS and reduction == "valid":
        return [MiddleOfThree() @ named(f"mixed_{place}.*.halve")]
    name = "conv_1a.conv" if place == "1a" else f"mixed_{place}.*.halve.conv"
    return [Inflate(1, "random", padding="same", stride="spatial") @ named(name)]


@dataclass(frozen=True)
class TimeUnit:
    """In the place of a module that changes nothing: a convolution through time, batch norm, ReLU."""

    frames: int
    channels: int
    momentum: float

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The unit, on clips: (B, channels, T, H, W) -> the same."""
        norm = nn.BatchNorm2d(self.channels, eps=0.001, momentum=self.momentum)
        weight = random_through_time(norm.weight.detach(), self.channels, self.channels, 1, self.frames)
        temporal = TemporalConv(weight, groups=1, padding="same")
        return nn.Sequential(temporal, OnFrames(nn.Sequential(norm, nn.ReLU(inplace=True))))


@dataclass(frozen=True)
class MiddleOfThree:
    """The layer on frames 1, 3, 5 ...: in the middle of a kernel of 3 with stride 2 that is not padded."""

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer behind the choice of frames, on clips: T -> (T - 3) // 2 + 1."""
        return nn.Sequential(_MiddleOfThree(), OnFrames(copy.deepcopy(layer)))


class _MiddleOfThree(nn.Module):
    def forward(self, clip: Tensor) -> Tensor:
        """Keep every second frame but those at the ends."""
        if clip.shape[2] < 3:
            raise ClipTooShort(f"{clip.shape[2]} frame(s) are fewer than a window of 3 takes")
        return clip[:, :, 1:-1:2]


_PAPER = "Gupta, Dharmaraj and Hayes, S3D-v3"
_CLIP, _SMALL = (3, 64, 224, 224), (3, 8, 64, 64)
_SHORT = {"reduction": "same"}

SYSTEMS = {
    "s3d_v3": System(s3d_v3, f"{_PAPER}: separable Inception-v3", _CLIP, _SMALL, _SHORT),
    "s3d_v3_joint": System(
        partial(s3d_v3, joint=True),
        f"{_PAPER}, section 5: 7x1x7 and 7x7x1 kernels for the pairs",
        _CLIP,
        _SMALL,
        _SHORT,
    ),
    "s3d_v3_top_heavy": System(
        partial(s3d_v3, temporal_from="5d"),
        f"{_PAPER}, section 5: temporal convolutions in the second half alone",
        _CLIP,
        _SMALL,
        _SHORT,
    ),
}

_TABLE = f"{_PAPER}, Table 1"
_SIZES = {
    "conv_1a": (32, 112, 112),
    "conv_2a": (32, 112, 112),
    "conv_2b": (32, 112, 112),
    "pool_3a": (16, 56, 56),
    "conv_3b": (16, 56, 56),
    "conv_4a": (16, 56, 56),
    "pool_5a": (8, 28, 28),
    "mixed_5d": (8, 28, 28),
    "mixed_6a": (3, 13, 13),
    "mixed_6e": (3, 13, 13),
    "mixed_7a": (1, 6, 6),
    "mixed_7c": (1, 6, 6),
    "pool": (1, 1, 1),
}
_READING = (
    "the figures of the blocks are lost; this reading puts a temporal convolution behind every k x k "
    "convolution and every pair of 1x7 and 7x1, as wide as what it gives, and one before every fork"
)

_INCEPTION = "Szegedy et al. 2016: Inception-v3 in 2-D, torchvision's description of its weights"


def _trunk() -> nn.Module:
    return inception_v3()[:-1]


PUBLISHED = (
    Published("s3d_v3", _TABLE, sizes=_SIZES),
    Published("s3d_v3_joint", _TABLE, sizes=_SIZES),
    Published("s3d_v3_top_heavy", _TABLE, sizes=_SIZES),
    Published("s3d_v3", _INCEPTION, parameters=23_834_568, of=inception_v3),
    Published("s3d_v3", _INCEPTION, parameters=27_161_264, of=partial(inception_v3, auxiliary="batch")),
    Published("s3d_v3", _INCEPTION, parameters=21_785_568, of=_trunk),
    Published("s3d_v3", _PAPER, parameters=28_789_093, explained=_READING),
    Published("s3d_v3", _PAPER, {"auxiliary": "batch"}, parameters=29_777_770, explained=_READING),
    Published(
        "s3d_v3_top_heavy",
        _PAPER,
        parameters=28_506_853,
        explained="'after layer 9' is read as from mixed_5d on, the second half of 18 layers; the paper's "
        "'almost half' of the parameters is out of reach: temporal convolutions below have 282,240",
    ),
)
