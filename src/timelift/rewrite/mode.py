"""The image network's own convolutions, rewritten as they are called: no module of it is changed."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from timelift.rewrite.calls import Conv2dCalls, pair
from timelift.rewrite.convolution import convolution
from timelift.rewrite.eager import eager


def rewritten(frames: Tensor) -> AbstractContextManager:
    """The scope of one forward in which conv2d takes its quickest form; where it learns, on a CPU."""
    return Conv2dCalls(_quickest) if torch.is_grad_enabled() and eager(frames) else nullcontext()


def _quickest(call: dict[str, Any]) -> Tensor:
    padding = call.get("padding", 0)
    if isinstance(padding, str):
        return torch.conv2d(**call)
    return convolution(
        call["input"],
        call["weight"],
        call.get("bias"),
        pair(call.get("stride", 1)),
        pair(padding),
        pair(call.get("dilation", 1)),
        call.get("groups", 1),
    )
