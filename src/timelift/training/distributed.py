"""Several processes that train one network: started by `torchrun --nproc-per-node K`, with no other flag.

Gradients are added up in the open after the backward pass, not by a wrapper around the network: so frozen,
thawing and unused parameters need no special case, and a process may have fewer clips than another.
"""

import atexit
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

_BUCKET_ELEMENTS = 2**24  # added up at once: few messages, little memory beside the gradients
_PATIENCE = timedelta(hours=12)  # the others wait while the first process validates

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # among those of this machine: its accelerator

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


def join_processes(device: torch.device) -> Processes:
    """The processes that torchrun started, connected (gloo on a CPU, nccl on CUDA); else just this one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        return Processes()
    processes = Processes(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(own_device(device, processes))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(_leave)
    return processes


def _leave() -> None:
    # gloo's threads may still hold the last tensors and need the interpreter to let go of them: without
    # this moment one process in twenty aborts on its way out, after its work is done
    time.sleep(0.1)
    if dist.is_initialized():
        dist.destroy_process_group()


def own_device(device: torch.device, processes: Processes) -> torch.device:
    """The device itself; for "cuda" and several processes, the one of this process."""
    if device.type == "cuda" and processes.count > 1:
        return torch.device("cuda", processes.local_rank)
    return device


def add_up(tensor: Tensor, processes: Processes) -> None:
    """Replace a tensor, in every process, by the sum over the processes."""
    if processes.count > 1:
        dist.all_reduce(tensor)


def add_up_gradients(parameters: Iterable[nn.Parameter], processes: Processes) -> None:
    """Replace every gradient by the sum over the processes; one that no process has stays None."""
    if processes.count == 1:
        return
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    used = torch.tensor([float(p.grad is not None) for p in learning], device=learning[0].device)
    dist.all_reduce(used)
    for parameter, count in zip(learning, used.tolist(), strict=True):
        if count > 0 and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in learning if parameter.grad is not None]
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(part.view(gradient.shape))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one kind of number, together not much larger than one bucket."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        full = sum(g.numel() for g in bucket) + gradient.numel() > _BUCKET_ELEMENTS
        if bucket and (full or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


@torch.no_grad()
def copy_from_first(tensors: Iterable[Tensor], processes: Processes) -> None:
    """Overwrite tensors, in place, with the first process's."""
    if processes.count > 1:
        for tensor in tensors:
            received = tensor.detach().contiguous()
            dist.broadcast(received, src=0)
            tensor.copy_(received)


def say_from_first(value: Value, processes: Processes) -> Value:
    """The first process's value, in every process."""
    if processes.count == 1:
        return value
    said = [value]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def gather(value: Value, processes: Processes) -> list[Value]:
    """Every process's value, in order, in every process."""
    if processes.count == 1:
        return [value]
    told: list[Any] = [None] * processes.count
    dist.all_gather_object(told, value)
    return told
