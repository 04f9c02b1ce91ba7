"""Whether a network in float64 computes in single precision inside: some norms cast to float32 themselves."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class _Dtypes(TorchDispatchMode):
    """Every dtype that an operation answers in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        all_made = made if isinstance(made, tuple) else (made,)
        self.seen |= {one.dtype for one in all_made if isinstance(one, Tensor)}
        return made


def single_inside(net: nn.Module, frames: Tensor) -> bool:
    """Whether one forward of float64 frames (N, C, H, W) meets a smaller floating-point number."""
    with _Dtypes() as dtypes, torch.no_grad():
        net(frames)
    return any(dtype.is_floating_point and dtype != torch.float64 for dtype in dtypes.seen)
