"""Inception-v3 on frames (Szegedy et al. 2016), with a stem that is padded as S3D-v3's: SAME.

Published networks have a stem without padding (299 -> 149, 147 ...); S3D-v3's Table 1 fits SAME alone. The
two reductions, 6a and 7a, are not padded. Convolutions inside a block are named by their kernels.
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from timelift.networks.auxiliary_head import AuxiliaryHead
from timelift.networks.conv_unit import SamePad, conv_unit, same_max_pool


def inception_v3(
    classes: int = 1000,
    in_channels: int = 3,
    dropout: float = 0.0,
    momentum: float = 0.1,
    auxiliary: Literal["batch", "dropout"] | None = None,
    size: int = 299,
) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, classes); modules conv_1a, conv_2a ... mixed_7c, pool, logits.

    momentum: of the batch norms' statistics, in PyTorch's sense.
    auxiliary: a head behind mixed_6e for the loss alone, with batch norm or with dropout, for maps of `size`.

    Raises:
        UsageError: for an auxiliary head on maps that are too small for one.
    """
    make = _Maker(momentum)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        pad=SamePad(3, 2),
        conv_1a=conv_unit(in_channels, 32, 3, stride=2, padded=False, momentum=momentum),
        conv_2a=make.unit(32, 32, 3),
        conv_2b=make.unit(32, 64, 3),
        pool_3a=same_max_pool(3, 2),
        conv_3b=make.unit(64, 80, 1),
        conv_4a=make.unit(80, 192, 3),
        pool_5a=same_max_pool(3, 2),
        mixed_5b=make.type_1(192, 32),
        mixed_5c=make.type_1(256, 64),
        mixed_5d=make.type_1(288, 64),
        mixed_6a=make.first_reduction(288),
        mixed_6b=make.type_2(768, 128),
        mixed_6c=make.type_2(768, 160),
        mixed_6d=make.type_2(768, 160),
        mixed_6e=make.type_2(768, 192),
    )
    if auxiliary is not None:
        layers["auxiliary"] = AuxiliaryHead(768, classes, reduced_side(size), auxiliary, momentum)
    layers["mixed_7a"] = make.second_reduction(768)
    layers["mixed_7b"] = make.type_3(1280)
    layers["mixed_7c"] = make.type_3(2048)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["dropout"] = nn.Dropout(dropout)
    layers["flatten"] = nn.Flatten()
    layers["logits"] = nn.Linear(2048, classes)
    return nn.Sequential(layers)


def reduced_side(size: int) -> int:
    """Height or width behind the first reduction: 224 -> 13."""
    return (-(-size // 8) - 3) // 2 + 1


class Branches(nn.Module):
    """Branches on the same map, side by side in channels."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W'), C' the sum of theirs."""
        return torch.cat([branch(frames) for branch in self.children()], dim=1)


class Fork(nn.Module):
    """A 1x3 and a 3x1 convolution of the same map; `before` is where time may be mixed."""

    def __init__(self, conv_1x3: nn.Module, conv_3x1: nn.Module):
        super().__init__()
        self.before = nn.Identity()
        self.conv_1x3 = conv_1x3
        self.conv_3x1 = conv_3x1

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W), C' the sum of both."""
        frames = self.before(frames)
        return torch.cat([self.conv_1x3(frames), self.conv_3x1(frames)], dim=1)


class _Maker:
    """The blocks of one network, whose batch norms have one momentum."""

    def __init__(self, momentum: float):
        self.momentum = momentum

    def unit(self, inp: int, out: int, kernel: int | tuple[int, int]) -> nn.Sequential:
        return conv_unit(inp, out, kernel, momentum=self.momentum)

    def halving(self, inp: int, out: int) -> nn.Sequential:
        return conv_unit(inp, out, 3, stride=2, padded=False, momentum=self.momentum)

    def projected(self, inp: int, out: int) -> nn.Sequential:
        pool = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)  # as TensorFlow's SAME counts
        return _chain(pool=pool, project=self.unit(inp, out, 1))

    def type_1(self, inp: int, projected: int) -> Branches:
        """64 + 64 + 96 + `projected` channels."""
        return Branches(
            self.unit(inp, 64, 1),
            _chain(reduce=self.unit(inp, 48, 1), conv_5x5=self.unit(48, 64, 5)),
            _chain(
                reduce=self.unit(inp, 64, 1), conv_3x3=self.unit(64, 96, 3), second_3x3=self.unit(96, 96, 3)
            ),
            self.projected(inp, projected),
        )

    def first_reduction(self, inp: int) -> Branches:
        """384 + 96 + `inp` channels, half the map."""
        return Branches(
            _chain(halve=self.halving(inp, 384)),
            _chain(reduce=self.unit(inp, 64, 1), conv_3x3=self.unit(64, 96, 3), halve=self.halving(96, 96)),
            _chain(pool=nn.MaxPool2d(3, 2)),
        )

    def type_2(self, inp: int, inside: int) -> Branches:
        """4 x 192 channels."""
        return Branches(
            self.unit(inp, 192, 1),
            _chain(
                reduce=self.unit(inp, inside, 1),
                conv_1x7=self.unit(inside, inside, (1, 7)),
                conv_7x1=self.unit(inside, 192, (7, 1)),
            ),
            _chain(
                reduce=self.unit(inp, inside, 1),
                conv_7x1=self.unit(inside, inside, (7, 1)),
                conv_1x7=self.unit(inside, inside, (1, 7)),
                second_7x1=self.unit(inside, inside, (7, 1)),
                second_1x7=self.unit(inside, 192, (1, 7)),
            ),
            self.projected(inp, 192),
        )

    def second_reduction(self, inp: int) -> Branches:
        """320 + 192 + `inp` channels, half the map."""
        return Branches(
            _chain(reduce=self.unit(inp, 192, 1), halve=self.halving(192, 320)),
            _chain(
                reduce=self.unit(inp, 192, 1),
                conv_1x7=self.unit(192, 192, (1, 7)),
                conv_7x1=self.unit(192, 192, (7, 1)),
                halve=self.halving(192, 192),
            ),
            _chain(pool=nn.MaxPool2d(3, 2)),
        )

    def type_3(self, inp: int) -> Branches:
        """320 + 768 + 768 + 192 channels."""
        return Branches(
            self.unit(inp, 320, 1),
            _chain(reduce=self.unit(inp, 384, 1), fork=self.fork()),
            _chain(reduce=self.unit(inp, 448, 1), conv_3x3=self.unit(448, 384, 3), fork=self.fork()),
            self.projected(inp, 192),
        )

    def fork(self) -> Fork:
        return Fork(self.unit(384, 384, (1, 3)), self.unit(384, 384, (3, 1)))


def _chain(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))
