"""What Factorize makes of a layer: S on every frame, T through time, and the three ways to join them."""

from torch import Tensor, nn

from timelift.clip import OnFrames
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

    def check_stream(self) -> None:
        """Raise a ConversionError for what cannot be advanced piece by piece."""
        self.temporal.check_stream()

    def advance(self, clip: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next frames of a stream, and what T keeps for those behind them."""
        spatial = self.spatial(clip)
        through_time, past = self.temporal.advance(self.seen(clip, spatial), past)
        return self.joined(spatial, through_time), past

    def seen(self, clip: Tensor, spatial: Tensor) -> Tensor:
        """What T sees: the answer of S."""
        return spatial

    def joined(self, spatial: Tensor, through_time: Tensor) -> Tensor:
        """The answer: that of T alone."""
        return self.behind(through_time)


class BothFactorized(SeriesFactorized):
    """S(x) + T(S(x)) (P3D-C)."""

    def joined(self, spatial: Tensor, through_time: Tensor) -> Tensor:
        """The sum of both."""
        return own_frames(spatial, self.temporal) + self.behind(through_time)


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


def own_frames(clip: Tensor, temporal: TemporalConv) -> Tensor:
    """The frames that stand under T's own tap, one for each of its outputs."""
    kernel = temporal.weight.shape[2]
    if temporal.padding != "valid":
        return clip[:, :, :: temporal.stride]
    own = kernel - 1 if temporal.causal else (kernel - 1) // 2
    return clip[:, :, own : clip.shape[2] - (kernel - 1 - own) : temporal.stride]
