"""Padding in time: which frame slice i of a kernel of T slices sees.

Slice i sees frame t + i - (T-1)//2; when causal, frame t + i - (T-1). "same" is TensorFlow's: just enough
zeros for ceil(L / stride) outputs, the odd one at the end.
"""

from typing import Literal

import torch
from torch import Tensor

from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.rewrite.steps import Steps

TimePadding = Literal["replicate", "zeros", "same", "valid"]


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
    if padding == "same":
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        return total // 2, total - total // 2
    before = kernel - 1 if causal else (kernel - 1) // 2
    return before, kernel - 1 - before


def steps_through(clip: Tensor, kernel: int, stride: int, padding: TimePadding, causal: bool) -> Steps:
    """How a kernel goes through this clip.

    Raises:
        ClipTooShort: under "valid", for a clip of fewer frames than the kernel has.
    """
    _check_length(clip, kernel, padding)
    return Steps(stride, *amounts(clip.shape[2], kernel, stride, padding, causal), padding == "replicate")


def pad_time(
    clip: Tensor, kernel: int, stride: int, padding: TimePadding, causal: bool, fill: float = 0.0
) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T + before + after, H, W), in the clip's memory layout.

    Raises:
        ClipTooShort: under "valid", for a clip of fewer frames than the kernel has.
    """
    _check_length(clip, kernel, padding)
    before, after = amounts(clip.shape[2], kernel, stride, padding, causal)
    if before == after == 0:
        return clip
    first, last = clip[:, :, :1], clip[:, :, -1:]
    if padding != "replicate":
        first, last = torch.full_like(first, fill), torch.full_like(last, fill)
    return torch.cat([first] * before + [clip] + [last] * after, dim=2)


def _check_length(clip: Tensor, kernel: int, padding: TimePadding) -> None:
    length = clip.shape[2]
    if padding == "valid" and length < kernel:
        raise ClipTooShort(f"{length} frame(s) are fewer than a kernel of {kernel} without padding takes")
