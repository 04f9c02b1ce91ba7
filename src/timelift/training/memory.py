"""When memory runs out: name the batch that would have fit."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from timelift.records import Optimisation, TimeliftError

_SIGNS = ("out of memory", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that an accelerator's or the CPU's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


def largest_fitting(attempt: Callable[[int], None], batch: int, smallest: int) -> int:
    """The largest of batch/2, batch/4 ... `smallest` clips that `attempt` survives; 0 if none does."""
    while batch > smallest:
        batch = max(batch // 2, smallest)
        try:
            attempt(batch)
            return batch
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)  # they hold the tensors that filled the memory
        _release()
    return 0


@contextmanager
def naming_the_batch_that_fits(
    attempt: Callable[[int], None], choices: Optimisation, smallest: int, device: torch.device
) -> Iterator[None]:
    """Turn running out of memory into one line that names a batch size that fits.

    attempt: takes one whole optimiser step with so many clips, `smallest` or more.

    Raises:
        TimeliftError: if memory ran out inside.
    """
    try:
        yield
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
    _release()
    fits = largest_fitting(attempt, choices.batch_size, smallest)
    came = f"batch_size={choices.batch_size} does not fit into the memory of {device}"
    if fits == 0:
        raise TimeliftError(
            f"{came}, nor does a batch of {smallest}: use fewer frames or a smaller size"
        ) from None
    accumulate = choices.accumulate * -(-choices.batch_size // fits)
    raise TimeliftError(
        f"{came}; {fits} fits: set batch_size={fits} and accumulate={accumulate} for steps over as many clips"
    ) from None


def _release() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
