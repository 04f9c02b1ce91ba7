"""Pooling through time, behind the layer that it is put on: a spatial pool becomes a pool in space and time.

A 3-D max pool is the spatial one followed by the temporal one; likewise the average (I3D, C3D, Mansimov).
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions.errors import ConversionError
from timelift.conversions.inflate import check_frames
from timelift.conversions.padding import TimePadding, Window, check_padding, pad_time
from timelift.conversions.past import with_past
from timelift.fields import typed
from timelift.rewrite.pools import max_through_time, sum_through_time
from timelift.rewrite.steps import Steps


@dataclass(frozen=True, repr=False)
class MaxPool:
    """The layer, then the maximum over `frames` frames, every `stride`-th (the default: frames).

    padding: "same" (TensorFlow's, never shortens a clip to nothing), "replicate" or "valid"; never zeros.
    causal: each answer stands for the last frame that it sees; what is padded stands before the clip.
    """

    frames: int = 2
    stride: int | None = None
    padding: TimePadding = "same"
    causal: bool = False

    __repr__ = typed

    def __post_init__(self):
        _check(self)

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise: on a still clip the maximum is the frame."""
        return _kept(self)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with the pool behind it, on clips."""
        pool = TemporalMaxPool(self.frames, self.stride or self.frames, self.padding, self.causal)
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), pool)


@dataclass(frozen=True, repr=False)
class AvgPool:
    """The layer, then the mean over `frames` frames, every `stride`-th (the default: frames).

    padding, causal: as MaxPool's; what "same" adds is not counted.
    """

    frames: int = 2
    stride: int | None = None
    padding: TimePadding = "same"
    causal: bool = False

    __repr__ = typed

    def __post_init__(self):
        _check(self)

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise: on a still clip the mean is the frame."""
        return _kept(self)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with the pool behind it, on clips."""
        pool = TemporalAvgPool(self.frames, self.stride or self.frames, self.padding, self.causal)
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), pool)


def _check(pool: MaxPool | AvgPool) -> None:
    check_padding(pool.padding, causal=False)
    if pool.padding == "zeros":
        raise ConversionError("a pool has no zeros to pad with: take padding='same', 'replicate' or 'valid'")
    check_frames(pool.frames)
    if not isinstance(pool.causal, bool):
        raise ConversionError(f"causal={pool.causal!r}: wanted True or False")
    if pool.stride is not None and (not isinstance(pool.stride, int) or pool.stride < 1):
        raise ConversionError(f"stride={pool.stride!r}: wanted a whole number, at least 1")


def _kept(pool: MaxPool | AvgPool) -> frozenset[str]:
    causal = {"causal"} if pool.causal or pool.frames == 1 else set()
    unchanged = pool.frames == 1 and (pool.stride or 1) == 1
    return frozenset({"still_clip", *causal, *({"identity_start"} if unchanged else set())})


class _TemporalPool(nn.Module):
    def __init__(self, frames: int, stride: int, padding: TimePadding, causal: bool = False):
        super().__init__()
        self.window = Window(frames, stride, padding, causal)

    def extra_repr(self) -> str:
        """What print(network) shows."""
        w = self.window
        return f"frames={w.frames}, stride={w.stride}, padding={w.padding!r}, causal={w.causal}"


class TemporalMaxPool(_TemporalPool):
    """(B, C, T, H, W) -> (B, C, T', H, W): the largest of each window."""

    def forward(self, clip: Tensor) -> Tensor:
        """Pool through time; what is padded never wins."""
        return max_through_time(clip, self.window.frames, self.window.steps(clip))

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, and the inputs that those behind them see."""
        seen, past = with_past(clip, past, self.window, fill=-torch.inf)
        return max_through_time(seen, self.window.frames, Steps(self.window.stride, 0, 0, repeat=False)), past


class TemporalAvgPool(_TemporalPool):
    """(B, C, T, H, W) -> (B, C, T', H, W): the mean of each window's own frames."""

    def forward(self, clip: Tensor) -> Tensor:
        """Pool through time; what is padded with "same" is not counted."""
        w = self.window
        seen, counted = (
            pad_time(frames, w.frames, w.stride, w.padding, w.causal) for frames in (clip, _counted(clip))
        )
        return self._mean(seen, counted)

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, the inputs that those behind them see, and which of these count."""
        of_frames, of_counted = past or (None, None)
        seen, of_frames = with_past(clip, of_frames, self.window)
        counted, of_counted = with_past(_counted(clip), of_counted, self.window)
        return self._mean(seen, counted), (of_frames, of_counted)

    def _mean(self, padded: Tensor, counted: Tensor) -> Tensor:
        w = self.window
        return sum_through_time(padded, w.frames, w.stride) / sum_through_time(counted, w.frames, w.stride)


def _counted(clip: Tensor) -> Tensor:
    """(1, 1, T, 1, 1): a one for every frame, beside which padding counts nothing."""
    return clip.new_ones(1, 1, clip.shape[2], 1, 1)


class TemporalSubsample(nn.Module):
    """(B, C, T, H, W) -> (B, C, ceil(T / stride), H, W): every `stride`-th frame."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    @property
    def window(self) -> Window:
        """An answer sees its own frame."""
        return Window(1, self.stride)

    def forward(self, clip: Tensor) -> Tensor:
        """Keep frames 0, stride, 2 stride ..."""
        return clip[:, :, :: self.stride]

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """Those of the next frames of a stream, and how many pass before the one that is kept next."""
        seen, past = with_past(clip, past, self.window)
        return self.forward(seen), past

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"stride={self.stride}"
