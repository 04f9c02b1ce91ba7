"""A convolution with a kernel through time in place of a 2-D one, whatever makes the kernel.

A plain Conv2d becomes one 3-D convolution. A subclass keeps its own forward, on all frames: what it does
before and behind its convolution stays, and the convolution itself goes through time.
"""

from typing import Any, Protocol

from torch import Tensor, nn

from timelift.clip import fold, unfold
from timelift.conversions.kernel import convolve_by, forward_alone, is_plain
from timelift.conversions.padding import TimePadding, Window
from timelift.conversions.past import with_past
from timelift.rewrite.on_clips import convolution_on_clips
from timelift.rewrite.steps import Steps


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
        self.space: Any = (layer.stride, layer.padding, layer.dilation)
        self.groups = layer.groups
        self.held = None if is_plain(layer) else forward_alone(layer, self.kernel()[:, :, 0])

    def forward(self, clip: Tensor) -> Tensor:
        """Pad in time, and convolve."""
        return self._convolved(clip, self.window.steps(clip))

    @property
    def window(self) -> Window:
        """The frames that an answer sees."""
        f = self.fields
        return Window(f.frames, self.temporal_stride, f.padding, f.causal)

    def advance(self, clip: Tensor, past: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream, and the inputs that those behind them see."""
        seen, past = with_past(clip, past, self.window)
        return self._convolved(seen, Steps(self.temporal_stride, 0, 0, repeat=False)), past

    def kernel(self) -> Tensor:
        """(C', C/groups, T, h, w), earliest slice first."""
        return self.weight() if isinstance(self.weight, nn.Module) else self.weight

    def extra_repr(self) -> str:
        """What print(network) shows."""
        shape = "" if isinstance(self.weight, nn.Module) else f"{tuple(self.weight.shape)}, "
        return f"{shape}{self.fields}"

    def _convolved(self, clip: Tensor, steps: Steps) -> Tensor:
        kernel = self.kernel()
        if self.held is None:
            return convolution_on_clips(clip, kernel, self.bias, self.space, steps, self.groups)

        def through_time(frames: Tensor, space: Any) -> Tensor:
            on_clips = unfold(frames, clip.shape[0])
            return fold(convolution_on_clips(on_clips, kernel, self.bias, space, steps, self.groups))

        return unfold(convolve_by(self.held, fold(clip), through_time), clip.shape[0])
