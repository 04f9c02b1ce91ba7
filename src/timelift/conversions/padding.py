"""Padding in time: which frame slice i of a kernel of T slices sees.

Slice i sees frame t + i - (T-1)//2; when causal, frame t + i - (T-1). "same" is TensorFlow's: just enough
zeros for ceil(L / stride) outputs, the odd one at the end; when causal, as a pool may be, all of it stands
before the clip.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.rewrite.padding import pad_through_time
from timelift.rewrite.steps import Steps

TimePadding = Literal["replicate", "zeros", "same", "valid"]


@dataclass(frozen=True)
class Window:
    """Which frames the answers of a layer see: `frames` in a row, for every `stride`-th frame."""

    frames: int
    stride: int = 1
    padding: TimePadding = "replicate"
    causal: bool = False

    @property
    def keeps_length(self) -> bool:
        """Whether there are as many answers as frames."""
        return self.stride == 1 and (self.padding != "valid" or self.frames == 1)

    @property
    def before(self) -> int:
        """Frames that are added before a clip: so far a window reaches before the frame of its answer."""
        return amounts(self.frames, self.frames, 1, self.padding, self.causal)[0]

    @property
    def behind(self) -> int:
        """Frames that are added behind it: so far a window looks ahead of the frame of its answer."""
        return amounts(self.frames, self.frames, 1, self.padding, self.causal)[1]

    def steps(self, clip: Tensor) -> Steps:
        """How it goes through this clip (B, C, T, H, W).

        Raises:
            ClipTooShort: under "valid", for a clip of fewer frames than the window has.
        """
        _check_length(clip, self.frames, self.padding)
        before, after = amounts(clip.shape[2], self.frames, self.stride, self.padding, self.causal)
        return Steps(self.stride, before, after, self.padding == "replicate")


def check_padding(padding: str, causal: bool) -> None:
    """Raise a ConversionError for a padding that does not exist or contradicts `causal`."""
    if padding not in ("replicate", "zeros", "same", "valid"):
        raise ConversionError(f"padding {padding!r}: there are replicate, zeros, same and valid")
    if causal and padding == "same":
        raise ConversionError("padding='same' looks ahead: with causal=True take replicate, zeros or valid")


def amounts(length: int, kernel: int, stride: int, padding: TimePadding, causal: bool) -> tuple[int, int]:
    """Frames added before and after a clip of `length` frames."""
    if padding == "valid":
        return 0, 0
    if padding == "same" and not causal:
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        return total // 2, total - total // 2
    before = kernel - 1 if causal else (kernel - 1) // 2
    return before, kernel - 1 - before


def pad_time(clip: Tensor, kernel: int, stride: int, padding: TimePadding, causal: bool) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T + before + after, H, W), in the clip's memory layout.

    Raises:
        ClipTooShort: under "valid", for a clip of fewer frames than the kernel has.
    """
    return pad_through_time(clip, Window(kernel, stride, padding, causal).steps(clip))


def _check_length(clip: Tensor, kernel: int, padding: TimePadding) -> None:
    length = clip.shape[2]
    if padding == "valid" and length < kernel:
        raise ClipTooShort(f"{length} frame(s) are fewer than a kernel of {kernel} without padding takes")
