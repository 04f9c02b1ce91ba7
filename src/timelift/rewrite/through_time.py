"""A convolution through time alone, k x 1 x 1, as a (k, 1) convolution over (T, H*W).

The same sums as a 3-D convolution with such a kernel, for which PyTorch has a slow path on one thread and at
batch 1. The kernel's gradient is a product of matrices for each slice: PyTorch's own takes 2 to 10 times as
long where maps are channels-last. Padding costs no copy where it is alike on both sides: zeros are left to
conv2d, and a frame that is repeated adds its share to the few outputs that see it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from timelift.clip import fold_places, unfold_places
from timelift.rewrite.eager import eager, in_autocast
from timelift.rewrite.padding import padded, unpadded
from timelift.rewrite.steps import Steps


def through_time(clip: Tensor, weight: Tensor, steps: Steps, groups: int) -> Tensor:
    """(B, C, T, H, W) with weight (C', C/groups, k, 1, 1) -> (B, C', T', H, W)."""
    columns, kernel = fold_places(clip), weight.squeeze(-1)  # (B, C, T, H*W), (C', C/groups, k, 1)
    if eager(clip) and eager(weight):
        columns, kernel = in_autocast(columns, kernel)
        out = _ThroughTime.apply(columns, kernel, steps, groups)
    else:
        out = plain(columns, kernel, steps, groups)
    return unfold_places(out, *clip.shape[3:])


def plain(columns: Tensor, kernel: Tensor, steps: Steps, groups: int) -> Tensor:
    """The same by PyTorch's operators alone."""
    if steps.before == steps.after and not steps.repeat:
        return _convolved(columns, kernel, steps.stride, steps.before, groups)
    return _convolved(padded(columns, steps), kernel, steps.stride, 0, groups)


class _ThroughTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, columns: Tensor, kernel: Tensor, steps: Steps, groups: int) -> Tensor:
        ctx.save_for_backward(columns, kernel)
        ctx.steps, ctx.groups = steps, groups
        if steps.before != steps.after:
            return _convolved(padded(columns, steps), kernel, steps.stride, 0, groups)
        slices = steps.seen(columns.shape[2], kernel.shape[2])
        out = _convolved(columns, kernel[:, :, slices], steps.stride, steps.before - slices.start, groups)
        for t, slices, frame in _repeated(columns, kernel, steps):
            share = kernel[:, :, slices].sum(dim=2, keepdim=True)
            out[:, :, t : t + 1] += conv2d(columns[:, :, frame : frame + 1], share, groups=groups)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        columns, kernel = ctx.saved_tensors
        steps, groups = ctx.steps, ctx.groups
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_columns = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_columns = _of_columns(gradient, columns, kernel, steps, groups)
        if ctx.needs_input_grad[1]:
            of_kernel = _of_kernel(gradient, columns, kernel, steps, groups)
        return of_columns, of_kernel, None, None


def _convolved(columns: Tensor, kernel: Tensor, stride: int, padding: int, groups: int) -> Tensor:
    return conv2d(columns, kernel, None, (stride, 1), (padding, 0), 1, groups)


def _repeated(columns: Tensor, kernel: Tensor, steps: Steps) -> Iterator[tuple[int, slice, int]]:
    """The outputs that see a frame repeated: the output, its slices that do, the frame."""
    if not steps.repeat:
        return
    length, slices = columns.shape[2], kernel.shape[2]
    for t in range(steps.outputs(length, slices)):
        first = t * steps.stride - steps.before  # the frame under the first slice
        if first < 0:
            yield t, slice(0, min(slices, -first)), 0
        if first + slices > length:
            yield t, slice(max(0, length - first), slices), length - 1


def _of_columns(gradient: Tensor, columns: Tensor, kernel: Tensor, steps: Steps, groups: int) -> Tensor:
    """The gradient of the frames, (B, C, T, H*W)."""
    if steps.before != steps.after:
        seen = padded(columns, steps)
        of_seen = _backward(gradient, seen, kernel, steps.stride, 0, groups, (True, False))[0]
        return unpadded(of_seen, steps)
    slices = steps.seen(columns.shape[2], kernel.shape[2])
    padding = steps.before - slices.start
    seen = kernel[:, :, slices]
    out = _backward(gradient, columns, seen, steps.stride, padding, groups, (True, False))[0]
    for t, slices, frame in _repeated(columns, kernel, steps):
        share = kernel[:, :, slices].sum(dim=2, keepdim=True)
        out[:, :, frame : frame + 1] += conv_transpose2d(gradient[:, :, t : t + 1], share, groups=groups)
    return out


def _of_kernel(gradient: Tensor, columns: Tensor, kernel: Tensor, steps: Steps, groups: int) -> Tensor:
    """The gradient of the kernel, (C', C/groups, k, 1)."""
    if groups > 1 or gradient.dtype not in (torch.float32, torch.float64):
        seen = padded(columns, steps)
        return _backward(gradient, seen, kernel, steps.stride, 0, groups, (False, True))[1]
    answers, frames = (
        gradient.permute(0, 2, 3, 1),
        columns.permute(0, 2, 3, 1),
    )  # channels last: (B, T, H*W, C)
    out = torch.zeros_like(kernel)
    for i in range(kernel.shape[2]):
        inside = steps.inside(i, frames.shape[1], 0, answers.shape[1])
        if inside:
            seen = frames[:, steps.source(i, inside)]
            out[:, :, i, 0] = _product(answers[:, inside.start : inside.stop], seen)
    for t, slices, frame in _repeated(columns, kernel, steps):
        share = _product(answers[:, t : t + 1], frames[:, frame : frame + 1])
        out[:, :, slices, 0] += share.unsqueeze(-1)
    return out


def _product(answers: Tensor, frames: Tensor) -> Tensor:
    """(B, t, H*W, C') and (B, t, H*W, C) -> (C', C): the sum over clips, frames and places."""
    left, right = answers.flatten(1, 2).mT, frames.flatten(1, 2)  # (B, C', t*H*W), (B, t*H*W, C)
    if left.shape[1] <= left.shape[2]:
        return torch.bmm(left, right).sum(dim=0)
    out = left[0] @ right[0]  # large kernels on small maps: no kernel a clip in between
    for one, other in zip(left[1:], right[1:], strict=True):
        out.addmm_(one, other)
    return out


def _backward(
    gradient: Tensor,
    columns: Tensor,
    kernel: Tensor,
    stride: int,
    padding: int,
    groups: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(
        gradient,
        columns,
        kernel,
        None,
        (stride, 1),
        (padding, 0),
        (1, 1),
        False,
        (0, 0),
        groups,
        (*wanted, False),
    )[:2]
