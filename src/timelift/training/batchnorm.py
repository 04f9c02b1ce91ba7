"""Batch norm over several processes: the whole batch's statistics where PyTorch can, else a note."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from timelift.training.distributed import Processes
from timelift.training.freeze import buffer_owners

_SYNCHRONISED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def batch_norms(model: nn.Module, groups: Mapping[str, str], still: frozenset[str]) -> list[nn.Module]:
    """The layers that normalise by the batch at some time: all whose group is not `still` throughout."""
    owners = buffer_owners(model, groups)
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and owners.get(name) not in still
    ]


def batch_norm_notes(layers: list[nn.Module], processes: Processes, device: torch.device) -> tuple[str, ...]:
    """One line where a process normalises by its own clips, so that K processes differ from one."""
    if processes.count == 1 or not layers:
        return ()
    if device.type != "cuda":
        own, why = layers, "PyTorch synchronises it on CUDA only"
    else:
        own = [layer for layer in layers if type(layer) not in _SYNCHRONISED]
        why = "PyTorch cannot synchronise " + ", ".join(sorted({type(layer).__name__ for layer in own}))
    if not own:
        return ()
    return (
        f"{len(own)} batch norm layer(s) use the statistics of each process's own clips ({why}): "
        f"the result is not that of one process with {processes.count} times the batch",
    )


@contextmanager
def synchronised(model: nn.Module, processes: Processes, device: torch.device) -> Iterator[None]:
    """Inside, plain batch norm layers see the clips of all processes (CUDA); afterwards they are as before.

    A subclass keeps its own forward, and its own statistics: see `batch_norm_notes`.
    """
    own: list[tuple[nn.Module, str, nn.Module]] = []
    if processes.count > 1 and device.type == "cuda":
        own = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent.named_children()
            if type(child) in _SYNCHRONISED
        ]
    for parent, name, child in own:
        setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # shares weights and statistics
    try:
        yield
    finally:
        for parent, name, child in own:
            setattr(parent, name, child.train(getattr(parent, name).training))
