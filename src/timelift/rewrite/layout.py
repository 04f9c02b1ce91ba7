"""Kernels laid out as convolutions on channels-last maps take them, and give their gradients: channels last.

In another layout every training step copies each gradient over, and on small maps, where the kernel is larger
than the map, it is put in order at every call.
"""

import torch
from torch import nn

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the kernel's axes


def lay_out_kernels(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """The weights of all modules that are just of these kinds, in place: the same numbers, channels last."""
    for module in network.modules():
        weight = module._parameters.get("weight")
        if type(module) in kinds and weight is not None:
            weight.data = weight.data.contiguous(memory_format=_LAYOUTS[weight.dim()])
