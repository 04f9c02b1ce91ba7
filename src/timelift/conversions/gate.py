"""Gate: every channel of a clip, scaled by what the whole clip says (S3D-G's self-gating).

Xie, Sun, Huang, Tu and Murphy 2018, Rethinking Spatiotemporal Feature Learning.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from timelift.clip import OnFrames
from timelift.conversions.convolution import ConvOnClips
from timelift.conversions.errors import ConversionError
from timelift.conversions.since import since
from timelift.conversions.temporal import TemporalConv
from timelift.fields import typed


@dataclass(frozen=True, repr=False)
class Gate:
    """Behind any module that gives maps: the mean over time and place, C -> C, a sigmoid, times the channel.

    The weights start from a normal distribution of deviation 0.01, cut at two, and the bias at zero: at first
    every channel is about halved.
    causal: each frame's channels are scaled by the mean over the frames up to it, not by the whole clip's.
    """

    bias: bool = False
    causal: bool = False

    __repr__ = typed

    def __post_init__(self):
        for name in ("bias", "causal"):
            if not isinstance(getattr(self, name), bool):
                raise ConversionError(f"{name}={getattr(self, name)!r}: wanted True or False")

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        return frozenset({"causal"} if self.causal else set())

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The module with the gate behind it, on clips.

        Raises:
            ConversionError: for a module in which nothing says how many channels it gives.
        """
        channels = _channels(layer)
        like = next(layer.parameters(), torch.empty(0))
        made = CausalGate if self.causal else SelfGate
        gate = made(channels, self.bias).to(device=like.device, dtype=like.dtype)
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), gate)


def _channels(layer: nn.Module) -> int:
    """Those of the last convolution or batch norm inside, in order of registration; converted ones count."""
    for module in reversed(list(layer.modules())):
        if isinstance(module, _BatchNorm):
            return module.num_features
        if isinstance(module, nn.Conv2d):
            return module.out_channels
        if isinstance(module, ConvOnClips):
            return len(module.kernel())
        if isinstance(module, TemporalConv):
            return len(module.weight)
    raise ConversionError(
        f"is a {type(layer).__name__} without a convolution or batch norm inside, which would say how many "
        "channels it gives: put the gate on the module that makes them"
    )


class SelfGate(nn.Module):
    """(B, C, T, H, W) -> the same, each channel of a clip times one number from 0 to 1."""

    def __init__(self, channels: int, bias: bool):
        super().__init__()
        self.excite = nn.Linear(channels, channels, bias)
        nn.init.trunc_normal_(self.excite.weight, std=0.01, a=-0.02, b=0.02)
        if bias:
            nn.init.zeros_(self.excite.bias)

    def forward(self, clip: Tensor) -> Tensor:
        """Gate the channels.

        Raises:
            ConversionError: for a clip of other channels than those that were found inside the layer.
        """
        self._check(clip)
        scales = self.excite(clip.mean(dim=(2, 3, 4))).sigmoid()  # (B, C)
        return clip * scales[:, :, None, None, None]

    def _check(self, clip: Tensor) -> None:
        if clip.shape[1] != self.excite.in_features:
            raise ConversionError(
                f"a gate for {self.excite.in_features} channels, those of its module's last convolution or "
                f"norm, got {clip.shape[1]}: put it on modules that end in one, as a branch"
            )


class CausalGate(SelfGate):
    """(B, C, T, H, W) -> the same, each channel of a frame times one number, of the frames up to it."""

    def forward(self, clip: Tensor) -> Tensor:
        """Gate the channels, frame by frame."""
        return self.advance(clip, None)[0]

    def advance(self, clip: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next frames of a stream, and the mean (B, C, 1) over all frames so far with their number ()."""
        self._check(clip)
        exact = torch.promote_types(clip.dtype, torch.float32)
        each = clip.mean(dim=(3, 4)).to(exact)  # (B, C, T)
        of_mean, of_number = (None, None) if state is None else state
        before = since(of_mean, lambda: torch.zeros_like(each[:, :, :1]))
        number = since(of_number, lambda: each.new_zeros(()))
        numbers = number + torch.arange(1, 1 + each.shape[2], dtype=exact, device=clip.device)
        means = before * (number / numbers) + each.cumsum(dim=2) / numbers
        scales = self.excite(means.to(clip.dtype).transpose(1, 2)).sigmoid().transpose(1, 2)
        return clip * scales[:, :, :, None, None], (means[:, :, -1:].clone(), number + each.shape[2])
