"""conv2d calls, wherever a module's own forward makes them, answered by another function."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


class Conv2dCalls(TorchFunctionMode):
    """The scope in which every conv2d call is answered by `answer`, from the arguments given, by name."""

    def __init__(self, answer: Callable[[dict[str, Any]], Tensor]):
        super().__init__()
        self.answer = answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        return self.answer(dict(zip(_NAMES, args, strict=False)) | (kwargs or {}))


def pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    """Height and width, from the one number or the two that conv2d takes."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
