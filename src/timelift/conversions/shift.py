"""Shift: some channels of the layer's input come from the frame before and the frame behind; no parameters.

Lin, Gan and Han 2019, TSM: Temporal Shift Module for Efficient Video Understanding.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions.errors import ConversionError
from timelift.conversions.padding import Window
from timelift.conversions.since import since
from timelift.fields import typed


@dataclass(frozen=True, repr=False)
class Shift:
    """Before the layer, 1/every of the channels take the previous frame's, another 1/every the next frame's.

    causal: only the first, from the past. padding: at the ends "replicate" keeps the frame's own channels;
    "zeros" is the paper's.
    """

    every: int = 8
    causal: bool = False
    padding: Literal["replicate", "zeros"] = "replicate"

    __repr__ = typed

    def __post_init__(self):
        if self.padding not in ("replicate", "zeros"):
            raise ConversionError(f"padding={self.padding!r}: a shift has replicate and zeros")
        if not isinstance(self.every, int) or self.every < 2:
            raise ConversionError(f"every={self.every!r}: wanted a whole number, at least 2")

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        still = {"still_clip"} if self.padding == "replicate" else set()
        return frozenset(still | {"causal"} if self.causal else still)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer behind its shift, on clips.

        Raises:
            ConversionError: for a layer that is no Conv2d, or has too few channels.
        """
        if not isinstance(layer, nn.Conv2d):
            raise ConversionError(f"is a {type(layer).__name__}: Shift takes convolutions (Conv2d)")
        if layer.in_channels < self.every:
            raise ConversionError(
                f"takes {layer.in_channels} channel(s), and a shift of every {self.every}th moves none: "
                f"take every={max(2, layer.in_channels)} or fewer, or leave the layer out with a place"
            )
        shift = TemporalShift(layer.in_channels // self.every, self.causal, self.padding)
        return nn.Sequential(shift, OnFrames(copy.deepcopy(layer)))


class TemporalShift(nn.Module):
    """(B, C, T, H, W) -> the same: `moved` channels come a frame later, the next `moved` one earlier."""

    def __init__(self, moved: int, causal: bool, padding: Literal["replicate", "zeros"]):
        super().__init__()
        self.moved, self.causal, self.padding = moved, causal, padding

    def forward(self, clip: Tensor) -> Tensor:
        """Move the channels; what has no neighbour keeps its own, or becomes zero."""
        n, shifted = self.moved, clip.clone()
        shifted[:, :n, 1:] = clip[:, :n, :-1]
        if not self.causal:
            shifted[:, n : 2 * n, :-1] = clip[:, n : 2 * n, 1:]
        if self.padding == "zeros":
            shifted[:, :n, 0] = 0
            if not self.causal:
                shifted[:, n : 2 * n, -1] = 0
        return shifted

    @property
    def window(self) -> Window:
        """The frames that an answer sees."""
        return Window(2 if self.causal else 3, padding=self.padding, causal=self.causal)

    def advance(self, clip: Tensor, state: Any) -> tuple[Tensor, Tensor]:
        """The next frames of a stream, and the channels that the one behind them takes: (B, moved, H, W).

        Raises:
            ConversionError: unless it is causal.
        """
        if not self.causal:
            raise ConversionError("shifts channels from the next frame: an answer for good takes causal=True")
        shifted = self.forward(clip)
        shifted[:, : self.moved, 0] = since(state, lambda: shifted[:, : self.moved, 0])
        return shifted, clip[:, : self.moved, -1].clone()

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"moved={self.moved}, causal={self.causal}, padding={self.padding!r}"
