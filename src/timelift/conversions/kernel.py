"""The kernel that a convolution really convolves with, whatever its class does to its weight first.

A subclass of Conv2d may pad by the input's size (TensorFlow's SAME), or standardise its weight. Its own
forward is kept: here it is asked which kernel reaches `conv2d`, and run again with another in its place.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from timelift.conversions.errors import ConversionError

_CONV2D = (torch.conv2d, torch.nn.functional.conv2d)


def is_plain(conv: nn.Module) -> bool:
    """Whether a Conv2d is nothing but zeros around the frame and one kernel."""
    return (
        type(conv) is nn.Conv2d
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and not conv._forward_hooks
        and not conv._forward_pre_hooks
    )


class _Conv2dCalls(TorchFunctionMode):
    """Sees every conv2d call, and lets `exchange` change its kernel and bias."""

    def __init__(self, exchange: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]):
        super().__init__()
        self.exchange = exchange

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in _CONV2D:
            return func(*args, **kwargs)
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        call = dict(zip(names, args, strict=False)) | kwargs
        call["weight"], call["bias"] = self.exchange(call["weight"], call.get("bias"))
        return func(**call)


def convolve_as(layer: nn.Module, frames: Tensor, kernel: Tensor) -> Tensor:
    """The layer's own forward on (N, C, H, W), with `kernel` (C', C/groups, h, w) in place of its own, no bias."""
    with _Conv2dCalls(lambda weight, bias: (kernel, None)):
        return layer(frames)


def effective_kernel(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The kernel and the bias that reach conv2d, detached: (C', C/groups, h, w) and (C',) or None.

    Raises:
        ConversionError: if a probe shows that the layer is not one convolution, linear in its input.
    """
    seen: list[tuple[Tensor, Tensor | None]] = []

    def note(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        seen.append((weight.detach().clone(), None if bias is None else bias.detach().clone()))
        return weight, bias

    with torch.no_grad(), _Conv2dCalls(note):
        one, other = _probes(layer)
        try:
            answers = [layer(x) for x in (one, other, one + other, torch.zeros_like(one))]
        except Exception as error:  # whatever the layer's own forward raises, the remedy is the same
            raise _not_linear(layer, f"its forward failed on one input ({error})") from error
    if len(seen) != 4 or not all(torch.equal(seen[0][0], weight) for weight, _ in seen):
        raise _not_linear(layer, "its forward is not one convolution with one kernel")
    expected = answers[0] + answers[1] - answers[3]
    if not torch.allclose(answers[2], expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max() + 1e-12)):
        raise _not_linear(layer, "a probe found it not linear in its input")
    return seen[0]


def without_parameters(layer: nn.Module) -> nn.Module:
    """A copy whose tensors are plain, unsaved buffers: for its forward only, nothing in it learns."""
    held = copy.deepcopy(layer)
    for module in held.modules():
        for name, parameter in list(module._parameters.items()):
            del module._parameters[name]
            if parameter is None:
                module._parameters[name] = None
            else:
                module.register_buffer(name, parameter.detach(), persistent=False)
        for name in module._buffers:
            module._non_persistent_buffers_set.add(name)
    return held


def _probes(layer: nn.Module) -> tuple[Tensor, Tensor]:
    weight = next(layer.parameters())
    channels = getattr(layer, "in_channels", weight.shape[1])
    generator = torch.Generator().manual_seed(0)
    shape = (1, channels, 33, 33)
    one, other = (torch.randn(shape, generator=generator).to(weight) for _ in range(2))
    return one, other


def _not_linear(layer: nn.Module, why: str) -> ConversionError:
    return ConversionError(
        f"is a {type(layer).__name__} that cannot become a 3-D kernel: {why}. "
        "Use Factorize, which keeps the module, or leave the layer out with a place (@ named(...))."
    )
