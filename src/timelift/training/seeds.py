"""Every draw of a run is a function of the run's seed and of what it is drawn for: nothing to carry over."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A seed of 63 bits for one purpose, such as ("order", epoch); equal on every machine."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed the generators that layers on the device draw from: as torch.manual_seed, without other devices'.

    Those that are not started yet would keep every seed, with a traceback, for when they are.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def borrowed_randomness(device: torch.device) -> Iterator[None]:
    """Let torch's global generators be seeded inside, and give them back as they were."""
    devices = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        yield
