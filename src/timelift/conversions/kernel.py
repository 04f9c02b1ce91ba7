"""The kernel that a convolution really convolves with, whatever its class does to its weight first.

A subclass of Conv2d may pad by the input's size (TensorFlow's SAME), or standardise its weight. Its own
forward is kept: here it is asked which kernel reaches `conv2d`, and run again with another in its place.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from timelift.conversions.errors import ConversionError
from timelift.rewrite.calls import Conv2dCalls, pair


def is_plain(conv: nn.Module) -> bool:
    """Whether a Conv2d is nothing but zeros around the frame and one kernel."""
    return (
        type(conv) is nn.Conv2d
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and not conv._forward_hooks
        and not conv._forward_pre_hooks
    )


def convolve_as(layer: nn.Module, frames: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's own forward on (N, C, H, W), with another kernel (C', C/groups, h, w) and bias."""
    with Conv2dCalls(lambda call: torch.conv2d(**{**call, "weight": kernel, "bias": bias})):
        return layer(frames)


def convolve_by(layer: nn.Module, frames: Tensor, answer: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """The layer's own forward on (N, C, H, W), with another convolution in place of its own.

    answer: takes what the layer convolves, and its stride, padding and dilation as pairs of numbers.
    """

    def convolved(call: dict[str, Any]) -> Tensor:
        stride, dilation = pair(call.get("stride", 1)), pair(call.get("dilation", 1))
        maps, padding = call["input"], call.get("padding", 0)
        if padding == "same":
            total = [(k - 1) * d for k, d in zip(call["weight"].shape[2:], dilation, strict=True)]
            around = [side for t in reversed(total) for side in (t // 2, t - t // 2)]
            maps, padding = nn.functional.pad(maps, around), 0
        return answer(maps, (stride, pair(0 if padding == "valid" else padding), dilation))

    with Conv2dCalls(convolved):
        return layer(frames)


def effective_kernel(layer: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """The kernel and the bias that reach conv2d, detached: (C', C/groups, h, w) and (C',) or None.

    Raises:
        ConversionError: if a probe shows that the layer is not one convolution, linear in its input.
    """
    if is_plain(layer):
        return layer.weight.detach().clone(), None if layer.bias is None else layer.bias.detach().clone()
    probed = copy.deepcopy(layer).to(_where_doubles_are(layer.weight.device)).double().eval()
    seen: list[tuple[Tensor, Tensor | None]] = []

    def note(call: dict[str, Any]) -> Tensor:
        bias = call.get("bias")
        seen.append((call["weight"].detach().clone(), None if bias is None else bias.detach().clone()))
        return torch.conv2d(**call)

    one, other = _probes(probed)
    with torch.no_grad(), Conv2dCalls(note):
        try:
            answers = [probed(x) for x in (one, other, one + other, torch.zeros_like(one))]
        except Exception as error:  # whatever the layer's own forward raises, the remedy is the same
            raise _not_linear(layer, f"its forward failed on {tuple(one.shape)} ({error})") from error
    if len(seen) != 4:
        raise _not_linear(layer, "its forward is not one convolution")
    kernel, bias = seen[0]
    if not kernel.is_meta:  # without numbers there is nothing to compare
        _check_linear(layer, probed, [weight for weight, _ in seen], answers)
    return kernel.to(layer.weight), None if bias is None else bias.to(layer.weight)


def _where_doubles_are(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "mps" else device


def _check_linear(layer: nn.Conv2d, probed: nn.Conv2d, kernels: list[Tensor], answers: list[Tensor]) -> None:
    """Of the answers to a, b, a + b and nothing: one kernel, linear, and no constant but the bias."""
    if not all(torch.equal(kernels[0], kernel) for kernel in kernels):
        raise _not_linear(layer, "its forward is not one convolution with one kernel")
    to_one, to_other, to_both, to_nothing = answers
    difference = (to_both - (to_one + to_other - to_nothing)).abs().max()
    if not difference <= 1e-6 * to_both.abs().max() + 1e-12:
        raise _not_linear(layer, "a probe found it not linear in its input")
    with torch.no_grad():
        if convolve_as(probed, torch.zeros_like(_probes(probed)[0]), kernels[0], None).any():
            raise _not_linear(layer, "it adds a constant of its own")


def forward_alone(layer: nn.Conv2d, kernel: Tensor) -> nn.Module:
    """A copy for its forward only, behind `convolve_as`: parameters that no answer depends on are gone.

    They become plain tensors that are neither saved nor learned. One that the forward uses beside the
    kernel, say a gain on the answer, stays a parameter.
    """
    held = copy.deepcopy(layer)
    used = _used(held, _probes(held)[0], kernel)
    for prefix, module in list(held.named_modules()):
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and f"{prefix}.{name}".strip(".") not in used:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach(), persistent=False)
    return held


def _used(layer: nn.Module, frames: Tensor, kernel: Tensor) -> set[str]:
    """The names of the parameters that the answer depends on, when `kernel` stands in for the layer's own."""
    trial = copy.deepcopy(layer).eval().requires_grad_(True)
    names, parameters = zip(*trial.named_parameters(), strict=True)
    with torch.enable_grad():
        answer = convolve_as(trial, frames, kernel.detach(), None)
        if not answer.requires_grad:
            return set()
        gradients = torch.autograd.grad(answer.sum(), parameters, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


def _probes(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Two pictures (1, C, H, W), a little larger than the kernel."""
    sides = [
        (k - 1) * d + s + 2 for k, d, s in zip(layer.kernel_size, layer.dilation, layer.stride, strict=True)
    ]
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, layer.in_channels, *sides, generator=generator) for _ in range(2))
    return one.to(layer.weight), other.to(layer.weight)


def _not_linear(layer: nn.Module, why: str) -> ConversionError:
    return ConversionError(
        f"is a {type(layer).__name__} that cannot become a 3-D kernel: {why}. "
        "Use Factorize, which keeps the module, or leave the layer out with a place (@ named(...))."
    )
