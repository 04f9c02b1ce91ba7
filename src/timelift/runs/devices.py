"""Which worker computes where: workers take the GPUs in turn."""

import os

import torch

from timelift.records import UsageError


def gpus() -> int:
    """CUDA devices that this process may use."""
    return torch.cuda.device_count()


def cores() -> int:
    """Processor cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(device: torch.device) -> int:
    """One process a core on a CPU, one a GPU on CUDA; one on a device named alone, as cuda:1, and on mps."""
    if device.type == "cpu":
        return cores()
    return max(1, gpus()) if device.type == "cuda" and device.index is None else 1


def worker_devices(device: torch.device, workers: int, gpus: int) -> tuple[torch.device, ...]:
    """The device of each worker. cuda with 4 workers on 2 GPUs: cuda:0, cuda:1, cuda:0, cuda:1.

    gpus: how many the machine has. A device with a number, as cuda:1, takes all workers.

    Raises:
        UsageError: for a GPU that is not there.
    """
    if device.type != "cuda":
        return (device,) * workers
    if device.index is None and gpus > 0:
        return tuple(torch.device("cuda", i % gpus) for i in range(workers))
    if (device.index or 0) >= gpus:
        there = f"cuda:0 to cuda:{gpus - 1}" if gpus > 1 else "cuda:0 alone" if gpus else "no GPU"
        raise UsageError(f"--device {device}: this machine has {there}")
    return (device,) * workers
