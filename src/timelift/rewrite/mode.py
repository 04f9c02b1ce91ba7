"""The image network's own convolutions, rewritten as they are called: no module of it is changed."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from timelift.rewrite.convolution import convolution
from timelift.rewrite.eager import eager

_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


def rewritten(frames: Tensor) -> AbstractContextManager:
    """The scope of one forward in which conv2d takes its quickest form; where it learns, on a CPU."""
    return _Rewritten() if torch.is_grad_enabled() and eager(frames) else nullcontext()


class _Rewritten(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        call = dict(zip(_NAMES, args, strict=False)) | (kwargs or {})
        padding = call.get("padding", 0)
        if isinstance(padding, str):
            return func(*args, **(kwargs or {}))
        return convolution(
            call["input"],
            call["weight"],
            call.get("bias"),
            _pair(call.get("stride", 1)),
            _pair(padding),
            _pair(call.get("dilation", 1)),
            call.get("groups", 1),
        )


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(size, int):
        return size, size
    return tuple(size) * (2 // len(size))
