"""A convolution through time alone, k x 1 x 1."""

from typing import Any

import torch
from torch import Tensor, nn

from timelift.conversions.padding import TimePadding, Window
from timelift.conversions.past import with_past
from timelift.rewrite.steps import Steps
from timelift.rewrite.through_time import through_time


class TemporalConv(nn.Module):
    """(B, C, T, H, W) -> (B, C', T', H, W) with weight (C', C/groups, k, 1, 1), no bias."""

    def __init__(
        self,
        weight: Tensor,
        groups: int,
        stride: int = 1,
        padding: TimePadding = "replicate",
        causal: bool = False,
    ):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.groups = groups
        self.stride = stride
        self.padding = padding
        self.causal = causal

    def forward(self, clip: Tensor) -> Tensor:
        """Convolve every place of the map through time."""
        return through_time(clip, self.weight, self.window.steps(clip), self.groups)

    @property
    def window(self) -> Window:
        """The frames that an answer sees."""
        return Window(self.weight.shape[2], self.stride, self.padding, self.causal)

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, and the inputs that those behind them see."""
        seen, past = with_past(clip, past, self.window)
        return through_time(seen, self.weight, Steps(self.stride, 0, 0, repeat=False), self.groups), past

    def extra_repr(self) -> str:
        """What print(network) shows."""
        shape = tuple(self.weight.shape)
        return f"{shape}, groups={self.groups}, stride={self.stride}, padding={self.padding!r}"


def identity_through_time(like: Tensor, channels: int, groups: int, frames: int, causal: bool) -> Tensor:
    """The weight (C, C/groups, k, 1, 1) of a TemporalConv that answers its input."""
    weight = like.new_zeros(channels, channels // groups, frames, 1, 1)
    own_frame = frames - 1 if causal else (frames - 1) // 2
    index = torch.arange(channels)
    weight[index, index % (channels // groups), own_frame] = 1.0
    return weight


def random_through_time(like: Tensor, out: int, inp: int, groups: int, frames: int) -> Tensor:
    """The weight (C', C/groups, k, 1, 1) from PyTorch's own start for convolutions (He et al. 2015)."""
    weight = like.new_empty(out, inp // groups, frames, 1, 1)
    nn.init.kaiming_uniform_(weight, a=5**0.5)
    return weight
