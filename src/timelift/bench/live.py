"""The most memory that tensors hold at once during a call, beyond what was there before it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


def peak_live_bytes(run: Callable[[], object]) -> int:
    """On a GPU, where one is in use, what its allocator says; else the sum over tensors that operators gave.

    What a call still holds when it ends, as gradients, counts as long as it is held; what an operator takes
    and gives back inside itself does not.
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    live = _Live()
    with live:
        run()
    return live.peak


class _Live(TorchDispatchMode):
    """Follows every operator, also in backward: which storages it first gave, and which are held."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._ours: dict[int, tuple[StorageWeakRef, int]] = {}  # by address of the storage: and its bytes
        self._others: dict[int, StorageWeakRef] = {}  # what was there before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._seen(tensor, self._others)
        answer = func(*args, **(kwargs or {}))
        for tensor in _tensors(answer):
            self._seen(tensor, None)
        self._ours = {key: held for key, held in self._ours.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._ours.values()))
        return answer

    def _seen(self, tensor: Tensor, before: dict[int, StorageWeakRef] | None) -> None:
        storage = tensor.untyped_storage()
        ref = StorageWeakRef(storage)
        known = self._others.get(ref.cdata)
        if ref.cdata in self._ours or (known is not None and not known.expired()):
            return
        if before is None:
            self._ours[ref.cdata] = (ref, storage.nbytes())
        else:
            before[ref.cdata] = ref


def _tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, tuple | list):
        for part in held:
            yield from _tensors(part)
    elif isinstance(held, dict):
        yield from _tensors(list(held.values()))
