"""A depthwise convolution through time and space, slice by slice: 2-D depthwise ones, shifted and summed.

PyTorch's depthwise conv3d is 2 to 8 times slower than as many of its conv2d, the more so backward. Each slice
of the kernel goes over all frames at once, as they lie, and its answers are added where they belong in time.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from timelift.clip import unfold
from timelift.rewrite.steps import Steps

Space = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # stride, padding, dilation: rows, columns


def depthwise(clip: Tensor, kernel: Tensor, bias: Tensor | None, space: Space, steps: Steps) -> Tensor:
    """(B, C, T, H, W) with a kernel (C', 1, k, h, w) in C groups -> (B, C', T', H', W')."""
    frames = _Depthwise.apply(clip, kernel, space, steps)  # (B*T', C', H', W')
    out = unfold(frames, clip.shape[0])
    return out if bias is None else out + bias.to(out.dtype).view(1, -1, 1, 1, 1)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clip: Tensor, kernel: Tensor, space: Space, steps: Steps) -> Tensor:
        """No view is given, which what follows might not change in place."""
        ctx.save_for_backward(clip, kernel)
        ctx.space, ctx.steps = space, steps
        clips, length, slices = clip.shape[0], clip.shape[2], kernel.shape[2]
        frames, out = _frames(_rows(clip)), None
        for i in _own_frame_first(slices, steps):
            answers = torch.conv2d(frames, kernel[:, :, i], None, *space, clip.shape[1])
            if out is None and _where_it_is(i, length, slices, steps):
                out = answers.contiguous(memory_format=torch.channels_last)
                continue
            if out is None:
                shape = clips * steps.outputs(length, slices), *answers.shape[1:]
                out = answers.new_empty(shape).to(memory_format=torch.channels_last).zero_()
            sums, rows = _rows_of(out, clips), _rows_of(answers, clips)
            for some, seen in steps.pairs(i, length, slices):
                sums[:, some] += rows[:, seen]
        return out  # type: ignore[return-value]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        clip, kernel = ctx.saved_tensors
        told = _rows_of(gradient.contiguous(memory_format=torch.channels_last), clip.shape[0])
        inputs = (told, _rows(clip), kernel)
        of_clip = _of_clip(*inputs, ctx.space, ctx.steps) if ctx.needs_input_grad[0] else None
        of_kernel = _of_kernel(*inputs, ctx.space, ctx.steps) if ctx.needs_input_grad[1] else None
        return of_clip, of_kernel, None, None


def _of_clip(gradient: Tensor, clip: Tensor, kernel: Tensor, space: Space, steps: Steps) -> Tensor:
    (clips, length), slices = clip.shape[:2], kernel.shape[2]
    told = _frames(gradient)
    like = _frames(clip.new_empty(*gradient.shape[:2], *clip.shape[2:]))  # for its shape alone
    out: Any = None
    for i in _own_frame_first(slices, steps):
        share = _backward(told, like, kernel[:, :, i], space, (True, False))[0]
        share = share.permute(0, 2, 3, 1).unflatten(0, gradient.shape[:2])
        if out is None and _where_it_is(i, length, slices, steps):
            out = share
            continue
        if out is None:
            out = share.new_zeros(clips, length, *share.shape[2:])
        for some, seen in steps.pairs(i, length, slices):
            alone = seen.stop - seen.start == 1  # the frame may stand for several
            out[:, seen] += share[:, some].sum(dim=1, keepdim=True) if alone else share[:, some]
    return _clip(out)


def _of_kernel(gradient: Tensor, clip: Tensor, kernel: Tensor, space: Space, steps: Steps) -> Tensor:
    length, slices = clip.shape[1], kernel.shape[2]
    out = torch.zeros_like(kernel)
    if clip.shape[2] < kernel.shape[3]:  # oneDNN is slow on maps smaller than the kernel
        (rows, columns), no_padding = space[1], (0, 0)
        clip, space = pad(clip, (0, 0, columns, columns, rows, rows)), (space[0], no_padding, space[2])
    for i in range(slices):
        told, seen = gradient, clip
        if not _where_it_is(i, length, slices, steps):
            pairs = sorted(steps.pairs(i, length, slices), key=lambda pair: pair[0].start)
            if not pairs:
                continue
            told = told[:, pairs[0][0].start : pairs[-1][0].stop]
            seen = torch.cat([clip[:, s].expand(-1, o.stop - o.start, -1, -1, -1) for o, s in pairs], dim=1)
        wanted = (False, True)
        out[:, :, i] = _backward(_frames(told), _frames(seen), kernel[:, :, i], space, wanted)[1]
    return out


def _own_frame_first(slices: int, steps: Steps) -> list[int]:
    """The slices, first that which is nowhere shifted: its answers are the sum's beginning."""
    return sorted(range(slices), key=lambda i: i != steps.before)


def _where_it_is(i: int, length: int, slices: int, steps: Steps) -> bool:
    """Whether output t of slice i sees frame t, for every frame."""
    return i == steps.before and steps.stride == 1 and steps.outputs(length, slices) == length


def _backward(
    gradient: Tensor, frames: Tensor, kernel: Tensor, space: Space, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    stride, padding, dilation = space
    groups, no_padding = frames.shape[1], (0, 0)
    return torch.ops.aten.convolution_backward(
        gradient, frames, kernel, None, stride, padding, dilation, False, no_padding, groups, (*wanted, False)
    )[:2]


def _rows(clip: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, T, H, W, C), a view."""
    return clip.permute(0, 2, 3, 4, 1)


def _rows_of(frames: Tensor, clips: int) -> Tensor:
    """(B*T, C, H, W) -> (B, T, H, W, C), a view."""
    return frames.permute(0, 2, 3, 1).unflatten(0, (clips, -1))


def _clip(rows: Tensor) -> Tensor:
    """(B, T, H, W, C) -> (B, C, T, H, W), a view."""
    return rows.permute(0, 4, 1, 2, 3)


def _frames(rows: Tensor) -> Tensor:
    """(B, T, H, W, C) -> (B*T, C, H, W), channels-last."""
    return rows.flatten(0, 1).permute(0, 3, 1, 2)
