"""The start of a network: what is drawn at random is the same for every variant where shapes agree."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from timelift.training.seeds import derive


@contextmanager
def paired_start(seed: int) -> Iterator[None]:
    """Build networks inside: the nth draw of a shape by a function is the same, whatever else is drawn.

    With one stream of numbers, a layer more in one variant would change every layer after it, the head too.
    torch's global generator is given back as it was. Draws with a generator of their own are left alone.
    """
    with torch.random.fork_rng(devices=[]), _Paired(seed):
        yield


def start_digest(model: nn.Module) -> str:
    """Hash of the names and values of all weights and buffers, wherever they are."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


class _Paired(TorchDispatchMode):
    """Seeds torch's generator before every draw by what is drawn, and for which time."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed
        self.drawn: Counter[tuple[str, tuple[int, ...]]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            drawn = (str(func), _shape(args))
            torch.default_generator.manual_seed(
                derive(self.seed, "start", *map(str, drawn), self.drawn[drawn])
            )
            self.drawn[drawn] += 1
        return func(*args, **kwargs)


def _shape(args: Any) -> tuple[int, ...]:
    """Of the tensor that is filled or imitated, or the size asked for: the first among the arguments."""
    for each in args:
        if isinstance(each, Tensor):
            return tuple(each.shape)
        if isinstance(each, list | tuple):
            return tuple(each)
    return ()
