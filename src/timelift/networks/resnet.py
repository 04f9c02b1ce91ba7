"""The residual networks on frames that the video papers lift (He et al. 2016), under torchvision's names.

`layer1.0.conv1`, `layer2.0.downsample.0`, `fc`: torchvision's own weights fit without renaming.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from timelift.records.errors import UsageError

Norm = Callable[[int], nn.Module]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the first has the stride."""

    expansion: ClassVar[int] = 1

    def __init__(self, inp: int, width: int, stride: int, norm: Norm = nn.BatchNorm2d):
        super().__init__()
        self.conv1 = nn.Conv2d(inp, width, 3, stride, 1, bias=False)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = norm(width)
        self.downsample = shortcut(inp, width, stride, norm)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, inp, H, W) -> (N, width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(frames)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.downsample(frames))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the width, beside a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(self, inp: int, width: int, stride: int, norm: Norm = nn.BatchNorm2d):
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(inp, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = norm(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inp, out, stride, norm)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, inp, H, W) -> (N, 4 width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(frames)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + self.downsample(frames))


def shortcut(inp: int, out: int, stride: int, norm: Norm) -> nn.Module:
    """The path beside a block: the input itself, or a 1x1 convolution and a norm where the shape changes."""
    if stride == 1 and inp == out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inp, out, 1, stride, bias=False), norm(out))


def stage(
    block: Any, inp: int, width: int, blocks: int, stride: int, norm: Norm = nn.BatchNorm2d
) -> nn.Sequential:
    """`blocks` blocks of one width, the first with the stride; block: a class such as BasicBlock."""
    first = block(inp, width, stride, norm)
    rest = (block(width * block.expansion, width, 1, norm) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class ResNet(nn.Module):
    """Stem, four stages, global average, dropout, last layer: (N, C, H, W) -> (N, classes)."""

    def __init__(
        self,
        block: Any,
        blocks: tuple[int, int, int, int],
        classes: int,
        in_channels: int,
        stem_pool: bool,
        dropout: float,
        norm: Norm,
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem_pool else nn.Identity()
        out = block.expansion
        self.layer1 = stage(block, 64, 64, blocks[0], 1, norm)
        self.layer2 = stage(block, 64 * out, 128, blocks[1], 2, norm)
        self.layer3 = stage(block, 128 * out, 256, blocks[2], 2, norm)
        self.layer4 = stage(block, 256 * out, 512, blocks[3], 2, norm)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512 * out, classes)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(frames))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return self.fc(self.dropout(self.avgpool(maps).flatten(1)))


BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def resnet(
    depth: int,
    classes: int = 400,
    in_channels: int = 3,
    *,
    stem_pool: bool = False,
    dropout: float = 0.0,
    norm_eps: float = 1e-5,
    norm_momentum: float = 0.1,
    bottleneck: Any = Bottleneck,
) -> ResNet:
    """ResNet-18 or -34 of basic blocks, -50, -101 or -152 of bottlenecks, from random weights.

    stem_pool: the 3x3 max pool behind the stem, which the video papers leave out at 112 x 112.
    bottleneck: the class of the blocks from depth 50, for papers that change it.

    Raises:
        UsageError: for any other depth.
    """
    if depth not in BLOCKS:
        raise UsageError(f"resnet({depth}): there are the depths {', '.join(map(str, BLOCKS))}")
    norm = partial(nn.BatchNorm2d, eps=norm_eps, momentum=norm_momentum)
    block = BasicBlock if depth < 50 else bottleneck
    net = ResNet(block, BLOCKS[depth], classes, in_channels, stem_pool, dropout, norm)
    draw_kernels(net)
    return net


def draw_kernels(net: nn.Module) -> None:
    """Draw every kernel from a normal by its outputs (He et al. 2015), those through time among them."""
    for parameter in net.parameters():
        if parameter.dim() >= 4:
            nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")
