"""Stages of plain 3x3 convolutions, each closed by a 2x2 max pool: what C3D and LTC lift into time."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from timelift.records.errors import UsageError


def vgg_features(
    stages: Sequence[Sequence[int]], in_channels: int = 3, *, ceil: bool = False, norm: bool = False
) -> nn.Sequential:
    """Frames (N, in_channels, H, W) -> maps (N, last width, H', W'); layers conv1a, relu1a, pool1, conv2a ...

    stages: the widths of each stage's convolutions. ceil: pools round up, as Caffe's do. norm: a batch norm
    (Caffe2's constants) behind every convolution, which keeps its bias.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width = in_channels
    for number, widths in enumerate(stages, start=1):
        for letter, out in zip("abcd", widths, strict=False):
            layers[f"conv{number}{letter}"] = nn.Conv2d(width, out, 3, padding=1)
            if norm:
                layers[f"norm{number}{letter}"] = nn.BatchNorm2d(out, eps=1e-3)
            layers[f"relu{number}{letter}"] = nn.ReLU()
            width = out
        layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=ceil)
    return nn.Sequential(layers)


def behind_pools(name: str, frames: int, size: int, *, ceil: bool = False) -> tuple[int, int]:
    """The frames and the side that are left of a clip: five pools in space, four of them in time, too.

    Raises:
        UsageError: if nothing is left, naming the system and the least that it takes.
    """
    left = halved(frames, 4, ceil=ceil), halved(size, 5, ceil=ceil)
    if min(left) < 1:
        least = "1 and 1" if ceil else "16 and 32"
        raise UsageError(f"{name}: frames={frames}, size={size}; its pools take at least {least}")
    return left


def halved(length: int, times: int, *, ceil: bool = False) -> int:
    """What so many pools of 2 leave of a length."""
    for _ in range(times):
        length = -(-length // 2) if ceil else length // 2
    return length
