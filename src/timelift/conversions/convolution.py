"""A convolution with a kernel through time in place of a 2-D one, whatever makes the kernel.

A plain Conv2d becomes one 3-D convolution. A subclass keeps its own forward: it runs once a slice, with that
slice's kernel, and the answers are shifted in time and summed.
"""

from functools import reduce
from typing import Protocol

import torch
from torch import Tensor, nn

from timelift.clip import fold, unfold
from timelift.conversions.kernel import convolve_as, forward_alone, is_plain
from timelift.conversions.padding import TimePadding, amounts, pad_time
from timelift.conversions.past import check_causal, with_past


class Timing(Protocol):
    """The fields of a conversion that say which frames its slices see."""

    @property
    def frames(self) -> int:
        """Slices of the kernel."""
        ...

    @property
    def padding(self) -> TimePadding:
        """What stands before the first and behind the last frame."""
        ...

    @property
    def causal(self) -> bool:
        """Whether no slice sees a later frame."""
        ...


class ConvOnClips(nn.Module):
    """(B, C, T, H, W) -> (B, C', T', H', W').

    weight: the kernel (C', C/groups, T, h, w), or a module whose forward makes it. bias: (C',) or None.
    """

    def __init__(
        self,
        fields: Timing,
        temporal_stride: int,
        layer: nn.Conv2d,
        weight: Tensor | nn.Module,
        bias: Tensor | None,
    ):
        super().__init__()
        self.fields = fields
        self.temporal_stride = temporal_stride
        self.weight = weight if isinstance(weight, nn.Module) else nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.spatial = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self.groups = layer.groups
        self.held = None if is_plain(layer) else forward_alone(layer, self.kernel()[:, :, 0])

    def forward(self, clip: Tensor) -> Tensor:
        """Pad in time, and convolve; as many zeros before as behind are left to conv3d, which is faster."""
        f = self.fields
        before, after = amounts(clip.shape[2], f.frames, self.temporal_stride, f.padding, f.causal)
        if self.held is None and f.padding in ("zeros", "same") and before == after:
            return self._at_once(clip, before)
        return self.convolve(self.padded(clip))

    def check_stream(self) -> None:
        """Raise a ConversionError for what cannot be advanced piece by piece."""
        f = self.fields
        check_causal(f.frames, self.temporal_stride, f.padding, f.causal)

    def advance(self, clip: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next frames of a stream, and the inputs that those behind them see."""
        self.check_stream()
        seen, past = with_past(clip, past, self.fields.frames, self.fields.padding)
        return self.convolve(seen), past

    def padded(self, clip: Tensor) -> Tensor:
        """The clip with its padding in time."""
        f = self.fields
        return pad_time(clip, f.frames, self.temporal_stride, f.padding, f.causal)

    def convolve(self, padded: Tensor) -> Tensor:
        """(B, C, L, H, W) -> (B, C', (L - frames) // stride + 1, H', W')."""
        return self._at_once(padded, 0) if self.held is None else self._slice_by_slice(self.held, padded)

    def kernel(self) -> Tensor:
        """(C', C/groups, T, h, w), earliest slice first."""
        return self.weight() if isinstance(self.weight, nn.Module) else self.weight

    def extra_repr(self) -> str:
        """What print(network) shows."""
        shape = "" if isinstance(self.weight, nn.Module) else f"{tuple(self.weight.shape)}, "
        return f"{shape}{self.fields}"

    def _at_once(self, clip: Tensor, zeros: int) -> Tensor:
        """One 3-D convolution, with so many frames of zeros at both ends."""
        stride = (self.temporal_stride, *self.spatial["stride"])
        padding, dilation = (zeros, *self.spatial["padding"]), (1, *self.spatial["dilation"])
        return nn.functional.conv3d(clip, self.kernel(), self.bias, stride, padding, dilation, self.groups)

    def _slice_by_slice(self, held: nn.Module, padded: Tensor) -> Tensor:
        """The held layer's answers to every slice's frames, summed; the first brings the bias."""
        kernel = self.kernel()
        outputs = (padded.shape[2] - self.fields.frames) // self.temporal_stride + 1

        def answer(i: int) -> Tensor:  # (B*T', C', H', W')
            end = i + (outputs - 1) * self.temporal_stride + 1
            frames = fold(padded[:, :, i : end : self.temporal_stride])
            return convolve_as(held, frames, kernel[:, :, i], self.bias if i == 0 else None)

        return unfold(reduce(torch.add, map(answer, range(self.fields.frames))), padded.shape[0])
