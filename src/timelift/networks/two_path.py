"""Two residual networks on the same frames, a wide one and a thin one that feeds it.

The 2-D network that SlowFast lifts (Feichtenhofer et al. 2019): its slow path is the wide one.
"""

import torch
from torch import Tensor, nn

from timelift.networks.resnet import BLOCKS, Bottleneck, stage

_OUT = Bottleneck.expansion


class Path(nn.Module):
    """Stem, pool and four stages of bottlenecks; fed: the channels that each stage takes from elsewhere."""

    def __init__(self, width: int, blocks: tuple[int, ...], in_channels: int, fed: tuple[int, ...]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = [own + other for own, other in zip(before_stages(width), fed, strict=True)]
        self.layer1 = stage(Bottleneck, inputs[0], width, blocks[0], 1)
        self.layer2 = stage(Bottleneck, inputs[1], width * 2, blocks[1], 2)
        self.layer3 = stage(Bottleneck, inputs[2], width * 4, blocks[2], 2)
        self.layer4 = stage(Bottleneck, inputs[3], width * 8, blocks[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def stem(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / 4, W / 4)."""
        return self.maxpool(self.relu(self.bn1(self.conv1(frames))))

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """layer1 to layer4."""
        return self.layer1, self.layer2, self.layer3, self.layer4


class TwoPaths(nn.Module):
    """The wide path, `slow`, and the thin one, `fast`, with a head on both: (N, C, H, W) -> (N, classes).

    ratio: channels of the wide path for one of the thin. select: which frames the wide path sees; here, all.
    laterals: before each stage, 1 x 1 convolutions of the thin path's channels to twice as many.
    """

    def __init__(self, depth: int, classes: int, in_channels: int, ratio: int, dropout: float):
        super().__init__()
        thin = before_stages(64 // ratio)
        self.select = nn.Identity()
        self.slow = Path(64, BLOCKS[depth], in_channels, fed=tuple(2 * channels for channels in thin))
        self.fast = Path(64 // ratio, BLOCKS[depth], in_channels, fed=(0, 0, 0, 0))
        self.laterals = nn.ModuleList(map(_lateral, thin))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear((64 + 64 // ratio) * 8 * _OUT, classes)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        slow, fast = self.slow.stem(self.select(frames)), self.fast.stem(frames)
        for lateral, wide, thin in zip(self.laterals, self.slow.stages, self.fast.stages, strict=True):
            slow = wide(torch.cat([slow, lateral(fast)], dim=1))
            fast = thin(fast)
        both = torch.cat([self.slow.avgpool(slow), self.fast.avgpool(fast)], dim=1)  # (N, C + C', 1, 1)
        return self.fc(self.dropout(both.flatten(1)))


def before_stages(width: int) -> tuple[int, int, int, int]:
    """A path's own channels before each of its stages."""
    return width, width * _OUT, width * 2 * _OUT, width * 4 * _OUT


def _lateral(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.BatchNorm2d(2 * channels), nn.ReLU(inplace=True)
    )
