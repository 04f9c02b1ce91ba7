"""What Factorize makes of a layer: S on every frame, T through time, and the three ways to join them."""

from typing import Any

from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions.padding import Window
from timelift.conversions.past import with_past
from timelift.conversions.temporal import TemporalConv


class SeriesFactorized(nn.Module):
    """T(S(x)): (B, C, T, H, W) -> (B, C', T', H', W'); behind: T's own norm and activation, on frames."""

    def __init__(self, spatial: nn.Module, temporal: TemporalConv, behind: nn.Module):
        super().__init__()
        self.spatial = OnFrames(spatial)
        self.temporal = temporal
        self.behind = OnFrames(behind)

    def forward(self, clip: Tensor) -> Tensor:
        """Space, then time."""
        spatial = self.spatial(clip)
        return self.joined(spatial, self.temporal(self.seen(clip, spatial)))

    @property
    def window(self) -> Window:
        """The frames that an answer sees: those of T."""
        return self.temporal.window

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, and what T keeps for those behind them."""
        spatial = self.spatial(clip)
        through_time, past = self.temporal.advance(self.seen(clip, spatial), past)
        return self.behind(through_time), past

    def seen(self, clip: Tensor, spatial: Tensor) -> Tensor:
        """What T sees: the answer of S."""
        return spatial

    def joined(self, spatial: Tensor, through_time: Tensor) -> Tensor:
        """The answer: that of T alone."""
        return self.behind(through_time)


class BothFactorized(SeriesFactorized):
    """S(x) + T(S(x)) (P3D-C)."""

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, and what T and the frames under its tap keep for those behind."""
        spatial = self.spatial(clip)
        of_time, of_own = past or (None, None)
        through_time, of_time = self.temporal.advance(self.seen(clip, spatial), of_time)
        own, of_own = next_own_frames(spatial, self.window, of_own)
        return own + self.behind(through_time), (of_time, of_own)

    def joined(self, spatial: Tensor, through_time: Tensor) -> Tensor:
        """The sum of both."""
        return own_frames(spatial, self.window) + self.behind(through_time)


class ParallelFactorized(BothFactorized):
    """S(x) + T(x) (P3D-B); T sees every s-th pixel where S has spatial stride s."""

    def __init__(
        self, spatial: nn.Module, temporal: TemporalConv, behind: nn.Module, stride: tuple[int, ...]
    ):
        super().__init__(spatial, temporal, behind)
        self.stride = stride

    def seen(self, clip: Tensor, spatial: Tensor) -> Tensor:
        """What T sees: the input, at the pixels that S stands on."""
        return clip[..., :: self.stride[0], :: self.stride[1]]


def own_frames(clip: Tensor, window: Window) -> Tensor:
    """The frames that stand under T's own tap, one for each of its outputs."""
    if window.padding != "valid":
        return clip[:, :, :: window.stride]
    own = own_tap(window)
    return clip[:, :, own : clip.shape[2] - (window.frames - 1 - own) : window.stride]


def next_own_frames(clip: Tensor, window: Window, past: Any) -> tuple[Tensor, Any]:
    """Those of the next frames of a stream, and what is kept for the frames behind them."""
    if window.padding != "valid" and window.stride == 1:
        return clip, None
    alone = window if window.padding == "valid" else Window(1, window.stride)
    seen, past = with_past(clip, past, alone)
    return own_frames(seen, alone), past


def own_tap(window: Window) -> int:
    """Which of its slices sees the frame that an answer stands for."""
    return window.frames - 1 if window.causal else (window.frames - 1) // 2
