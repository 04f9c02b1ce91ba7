"""Which clips are seen when: index arithmetic of epochs, batches and processes."""

from collections.abc import Callable, Iterator

import torch

from timelift.records import DataError
from timelift.training.seeds import generator


def epoch_batches(clips: int, batch: int, smallest: int, seed: int, epoch: int) -> list[list[int]]:
    """All clips once, in an order that depends on seed and epoch alone, `batch` at a time.

    The last batch may be shorter; one of fewer than `smallest` clips joins the batch before it
    (batch norm cannot learn from a single clip).

    Raises:
        DataError: if there are fewer than `smallest` clips in all.
    """
    if clips < max(smallest, 1):
        raise DataError(
            f"{clips} training clip(s), but at least {max(smallest, 1)} are needed "
            "(with batch norm two for each process); add training videos"
        )
    order = torch.randperm(clips, generator=generator(seed, "order", epoch)).tolist()
    batches = [order[start : start + batch] for start in range(0, clips, batch)]
    if len(batches[-1]) < smallest:
        short = batches.pop()
        batches[-1] += short
    return batches


def drawn_anew(batches: list[list[int]], seed: int, epoch: int) -> list[list[int]]:
    """Batches of the same sizes, each from an order of its own of all clips (Ras et al. 2018, their code).

    A clip may come several times in an epoch, or never.
    """
    clips = torch.tensor(sorted(clip for batch in batches for clip in batch))
    orders = (
        torch.randperm(len(clips), generator=generator(seed, "order", epoch, i)) for i in range(len(batches))
    )
    return [clips[order[: len(batch)]].tolist() for order, batch in zip(orders, batches, strict=True)]


def optimiser_steps(batches: list[list[int]], accumulate: int) -> list[list[list[int]]]:
    """The batches of each optimiser step; the last step takes what is left."""
    return [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]


def share(batch: list[int], rank: int, processes: int) -> list[int]:
    """One process's contiguous part of a global batch; empty where clips are fewer than processes."""
    return batch[len(batch) * rank // processes : len(batch) * (rank + 1) // processes]


def upcoming(
    plan: Callable[[int], list[list[list[int]]]], epoch: int, step: int, epochs: int
) -> Iterator[tuple[int, list[int]]]:
    """(epoch, global batch) for all that is still to be trained, from `step` of `epoch` on."""
    for coming in range(epoch, epochs + 1):
        for batches in plan(coming)[step if coming == epoch else 0 :]:
            for batch in batches:
                yield coming, batch
