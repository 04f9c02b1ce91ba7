"""A convolution of clips with a kernel through time and space, in whichever of its forms is the quickest."""

from typing import Any

import torch
from torch import Tensor

from timelift.clip import fold, unfold
from timelift.rewrite.convolution import convolution
from timelift.rewrite.depthwise import Space, depthwise
from timelift.rewrite.eager import eager, in_autocast
from timelift.rewrite.forms import depthwise_in_slices
from timelift.rewrite.padding import pad_through_time
from timelift.rewrite.steps import Steps


def convolution_on_clips(
    clip: Tensor, kernel: Tensor, bias: Tensor | None, space: Space, steps: Steps, groups: int
) -> Tensor:
    """(B, C, T, H, W) with a kernel (C', C/groups, k, h, w) -> (B, C', T', H', W')."""
    if eager(clip) and eager(kernel):
        if not steps.repeat:  # slices that see nothing but padding are left out
            kernel, steps = _seen(kernel, steps, clip.shape[2])
        if groups == clip.shape[1] > 1 and depthwise_in_slices(clip, kernel, steps):
            clip, kernel = in_autocast(clip, kernel)
            return depthwise(clip, kernel, bias, space, steps)
    stride, padding, dilation = space
    if kernel.shape[2] == 1 and steps[:3] == (1, 0, 0):
        out = convolution(fold(clip), kernel.squeeze(2), bias, stride, padding, dilation, groups)
        return unfold(out, clip.shape[0])
    zeros = 0 if steps.repeat or steps.before != steps.after else steps.before
    if not zeros:
        clip = pad_through_time(clip, steps)
    through = (steps.stride, *stride), (zeros, *padding), (1, *dilation)
    return convolution(clip, kernel, bias, *through, groups)


def _seen(kernel: Tensor, steps: Steps, length: int) -> tuple[Tensor, Steps]:
    seen = steps.seen(length, kernel.shape[2])
    if seen == slice(0, kernel.shape[2]):
        return kernel, steps
    cut = seen.start
    return Slices.apply(kernel, seen), steps._replace(before=steps.before - cut, after=steps.after - cut)


class Slices(torch.autograd.Function):
    """Some slices of a kernel. The gradient lies as the kernel does: indexing's would be copied over."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, seen: slice) -> Tensor:
        """(C', C, k, h, w) -> those slices of it."""
        ctx.save_for_backward(kernel)
        ctx.seen = seen
        return kernel[:, :, seen]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Zeros for all others."""
        (kernel,) = ctx.saved_tensors
        out = torch.zeros_like(kernel)
        out[:, :, ctx.seen] = gradient
        return out, None
