"""Frames put before and behind a clip, and their gradients, without a detour over other memory layouts."""

from typing import Any

import torch
from torch import Tensor

from timelift.rewrite.eager import eager
from timelift.rewrite.steps import Steps


def pad_through_time(clip: Tensor, steps: Steps) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T + before + after, H, W), in the clip's memory layout."""
    if steps.before == steps.after == 0:
        return clip
    return _Padded.apply(clip, steps) if eager(clip) else padded(clip, steps)


def padded(clip: Tensor, steps: Steps) -> Tensor:
    """The same of clips or of columns (B, C, T, H*W), by PyTorch's operators alone."""
    first, last = clip[:, :, :1], clip[:, :, -1:]
    if not steps.repeat:
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    return torch.cat([first] * steps.before + [clip] + [last] * steps.after, dim=2)


def unpadded(gradient: Tensor, steps: Steps) -> Tensor:
    """The gradient of what was padded, dense and channels-last.

    PyTorch's own would be a part of the larger tensor, which is slow to work on, and a whole clip of zeros
    for every frame that is repeated.
    """
    end = gradient.shape[2] - steps.after
    dense = torch.channels_last if gradient.dim() == 4 else torch.channels_last_3d
    out = gradient[:, :, steps.before : end].clone(memory_format=dense)
    if steps.repeat:
        out[:, :, 0] += gradient[:, :, : steps.before].sum(dim=2)
        out[:, :, -1] += gradient[:, :, end:].sum(dim=2)
    return out


class _Padded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: Tensor, steps: Steps) -> Tensor:
        ctx.steps = steps
        return padded(clip, steps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return unpadded(gradient, ctx.steps), None
