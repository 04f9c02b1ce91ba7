"""Pooling through time, behind the layer that it is put on: a spatial pool becomes a pool in space and time.

A 3-D max pool is the spatial one followed by the temporal one; likewise the average (I3D, C3D, Mansimov).
"""

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions.errors import ConversionError
from timelift.conversions.inflate import check_frames
from timelift.conversions.padding import TimePadding, check_padding, steps_through
from timelift.fields import typed
from timelift.rewrite.pools import max_through_time, mean_through_time


@dataclass(frozen=True, repr=False)
class MaxPool:
    """The layer, then the maximum over `frames` frames, every `stride`-th (the default: frames).

    padding: "same" (TensorFlow's, never shortens a clip to nothing), "replicate" or "valid"; never zeros.
    """

    frames: int = 2
    stride: int | None = None
    padding: TimePadding = "same"

    __repr__ = typed

    def __post_init__(self):
        _check(self)

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise: on a still clip the maximum is the frame."""
        return _kept(self)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with the pool behind it, on clips."""
        pool = TemporalMaxPool(self.frames, self.stride or self.frames, self.padding)
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), pool)


@dataclass(frozen=True, repr=False)
class AvgPool:
    """The layer, then the mean over `frames` frames, every `stride`-th (the default: frames).

    padding: as MaxPool's; what "same" adds is not counted.
    """

    frames: int = 2
    stride: int | None = None
    padding: TimePadding = "same"

    __repr__ = typed

    def __post_init__(self):
        _check(self)

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise: on a still clip the mean is the frame."""
        return _kept(self)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with the pool behind it, on clips."""
        pool = TemporalAvgPool(self.frames, self.stride or self.frames, self.padding)
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), pool)


def _check(pool: MaxPool | AvgPool) -> None:
    check_padding(pool.padding, causal=False)
    if pool.padding == "zeros":
        raise ConversionError("a pool has no zeros to pad with: take padding='same', 'replicate' or 'valid'")
    check_frames(pool.frames)
    if pool.stride is not None and (not isinstance(pool.stride, int) or pool.stride < 1):
        raise ConversionError(f"stride={pool.stride!r}: wanted a whole number, at least 1")


def _kept(pool: MaxPool | AvgPool) -> frozenset[str]:
    unchanged = pool.frames == 1 and (pool.stride or 1) == 1
    return frozenset({"still_clip", "identity_start", "causal"} if unchanged else {"still_clip"})


class _TemporalPool(nn.Module):
    def __init__(self, frames: int, stride: int, padding: TimePadding):
        super().__init__()
        self.frames, self.stride, self.padding = frames, stride, padding

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"frames={self.frames}, stride={self.stride}, padding={self.padding!r}"


class TemporalMaxPool(_TemporalPool):
    """(B, C, T, H, W) -> (B, C, T', H, W): the largest of each window."""

    def forward(self, clip: Tensor) -> Tensor:
        """Pool through time; what is padded never wins."""
        steps = steps_through(clip, self.frames, self.stride, self.padding, causal=False)
        return max_through_time(clip, self.frames, steps)


class TemporalAvgPool(_TemporalPool):
    """(B, C, T, H, W) -> (B, C, T', H, W): the mean of each window's own frames."""

    def forward(self, clip: Tensor) -> Tensor:
        """Pool through time; what is padded with "same" is not counted."""
        steps = steps_through(clip, self.frames, self.stride, self.padding, causal=False)
        return mean_through_time(clip, self.frames, steps)


class TemporalSubsample(nn.Module):
    """(B, C, T, H, W) -> (B, C, ceil(T / stride), H, W): every `stride`-th frame."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, clip: Tensor) -> Tensor:
        """Keep frames 0, stride, 2 stride ..."""
        return clip[:, :, :: self.stride]

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"stride={self.stride}"
