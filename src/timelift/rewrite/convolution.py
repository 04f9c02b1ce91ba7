"""A convolution whose kernel's gradient is found in the quicker of several forms; the rest is PyTorch's."""

from typing import Any

import torch
from torch import Tensor

from timelift.rewrite.eager import eager, in_autocast
from timelift.rewrite.forms import Form, kernel_gradient_form
from timelift.rewrite.steps import Steps
from timelift.rewrite.winograd import kernel_gradient

Numbers = tuple[int, ...]


def convolution(
    maps: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    """Frames (N, C, H, W) or clips (B, C, T, H, W), and a kernel of as many axes, as conv2d and conv3d."""
    batched = maps.dim() == kernel.dim()
    if batched and kernel.requires_grad and torch.is_grad_enabled() and eager(maps) and eager(kernel):
        maps, kernel = in_autocast(maps, kernel)
        form = kernel_gradient_form(maps, kernel, stride, dilation, groups)
        if form != "pytorch":
            return _Convolution.apply(maps, kernel, bias, (stride, padding, dilation), form)
    convolve = torch.conv2d if kernel.dim() == 4 else torch.conv3d
    return convolve(maps, kernel, bias, stride, padding, dilation, groups)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        how: tuple[Numbers, Numbers, Numbers],
        form: Form,
    ) -> Tensor:
        ctx.save_for_backward(maps, kernel)
        ctx.how, ctx.form = how, form
        convolve = torch.conv2d if kernel.dim() == 4 else torch.conv3d
        return convolve(maps, kernel, bias, *how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, kernel = ctx.saved_tensors
        of_maps, of_kernel, of_bias = ctx.needs_input_grad[:3]
        form = "pytorch" if torch.is_grad_enabled() else ctx.form  # PyTorch's can be differentiated again
        ours = of_kernel and form != "pytorch"
        found = list(_backward(gradient, maps, kernel, ctx.how, (of_maps, of_kernel and not ours, of_bias)))
        if ours and form == "winograd":
            found[1] = _winograd(gradient, maps, kernel, ctx.how)
        elif ours:
            wanted = (False, True, False)
            found[1] = _backward(gradient.contiguous(), maps.contiguous(), kernel, ctx.how, wanted)[1]
        return (*found, None, None)


def _backward(
    gradient: Tensor,
    maps: Tensor,
    kernel: Tensor,
    how: tuple[Numbers, Numbers, Numbers],
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, ...]:
    if not any(wanted):
        return None, None, None
    stride, padding, dilation = how
    no_padding = (0,) * len(stride)
    return torch.ops.aten.convolution_backward(
        gradient,
        maps,
        kernel,
        (len(kernel),),
        stride,
        padding,
        dilation,
        False,
        no_padding,
        1,
        wanted,
    )


def _winograd(
    gradient: Tensor, maps: Tensor, kernel: Tensor, how: tuple[Numbers, Numbers, Numbers]
) -> Tensor:
    stride, (*_, rows, columns), _ = how
    padding = rows, columns
    if kernel.dim() == 4:  # frames: one long clip, each of whose answers sees its own frame
        clip, of_clip = (frames.transpose(0, 1).unsqueeze(0) for frames in (maps, gradient))
        steps = Steps(1, 0, 0, repeat=False)
        return kernel_gradient(of_clip, clip, 1, steps, padding).squeeze(2)
    frames = how[1][0]
    steps = Steps(stride[0], frames, frames, repeat=False)
    return kernel_gradient(gradient, maps, kernel.shape[2], steps, padding)
