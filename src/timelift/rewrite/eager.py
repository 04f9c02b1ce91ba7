"""Whether a rewritten form may run: on a CPU, at once, with nobody else rewriting operators."""

import torch
from torch import Tensor, nn

from timelift.clip import in_transform


def eager(tensor: Tensor) -> bool:
    """True for a CPU tensor outside of torch.compile, export, tracing and torch.func (vmap, grad ...)."""
    return (
        tensor.device.type == "cpu"
        and type(tensor) in (Tensor, nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not in_transform()
    )


def in_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the number format that autocast gives a convolution; as they are outside of it."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    number = torch.get_autocast_dtype(device)
    return tuple(t if t.dtype == torch.float64 else t.to(number) for t in tensors)  # as PyTorch's own does
