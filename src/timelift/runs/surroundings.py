"""What a number depends on beside code and seed: versions and hardware, recorded with every run."""

import importlib.metadata
import platform
import sys
from pathlib import Path

import torch

_PACKAGES = ("timelift", "torch", "torchvision", "timm", "av", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Python's and the packages' versions."""
    return {"python": sys.version.split()[0]} | {name: importlib.metadata.version(name) for name in _PACKAGES}


def hardware(device: torch.device) -> str:
    """The processor or the GPU, and the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} thread(s)"


def pick_device(name: str) -> torch.device:
    """auto | cpu | cuda | mps -> the device.

    Raises:
        UsageError: if the machine does not have it.
    """
    from timelift.records import UsageError

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "mps") if there[kind]), "cpu"))
    if not there.get(name.split(":")[0], False):
        raise UsageError(
            f"--device {name}: this machine has {', '.join(k for k, v in there.items() if v)} (or auto)"
        )
    return torch.device(name)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
