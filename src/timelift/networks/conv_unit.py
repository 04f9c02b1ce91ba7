"""What Inception networks are made of: convolution, batch norm, ReLU; and TensorFlow's SAME padding.

SAME adds just enough around a map for ceil(size / stride) outputs, the odd row and column at the end, so its
amount follows from the map's size. With stride 1 it is symmetric and stays in the convolution; where there is
a stride, it is a module of its own, and the convolution behind it stays a plain one.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class SamePad(nn.Module):
    """(N, C, H, W) -> (N, C, H', W'): what a window of `kernel` with `stride` needs around the map."""

    def __init__(self, kernel: int, stride: int, fill: float = 0.0):
        super().__init__()
        self.kernel, self.stride, self.fill = kernel, stride, fill

    def forward(self, frames: Tensor) -> Tensor:
        """Pad rows and columns, the odd one at the end."""
        rows, columns = self._total(frames.shape[2]), self._total(frames.shape[3])
        around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return nn.functional.pad(frames, around, value=self.fill)

    def _total(self, size: int) -> int:
        return max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"kernel={self.kernel}, stride={self.stride}, fill={self.fill}"


class SlidingMean(nn.Module):
    """(N, C, H, W) -> (N, C, H', W'): each window's mean, of `side` or, if smaller, the map."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, frames: Tensor) -> Tensor:
        """Average with stride 1, without padding."""
        window = (min(self.side, frames.shape[2]), min(self.side, frames.shape[3]))
        return nn.functional.avg_pool2d(frames, window, stride=1)

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"side={self.side}"


def conv_unit(
    inp: int,
    out: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padded: bool = True,
    momentum: float = 0.001,
) -> nn.Sequential:
    """Convolution without bias, batch norm with eps 0.001, ReLU: modules conv, norm, act.

    padded: by half a kernel on each side, which is SAME where the stride is 1. Not padded is what a SAME
    convolution with a stride is, behind its SamePad, and what a valid one is.
    """
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    around = (sides[0] // 2, sides[1] // 2) if padded else (0, 0)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inp, out, sides, stride, around, bias=False),
            norm=nn.BatchNorm2d(out, eps=0.001, momentum=momentum),
            act=nn.ReLU(inplace=True),
        )
    )


def same_max_pool(kernel: int, stride: int) -> nn.Sequential:
    """A max pool with SAME padding; what is padded never wins."""
    return nn.Sequential(SamePad(kernel, stride, -torch.inf), nn.MaxPool2d(kernel, stride))
