"""Clips on their way to the loop: decoded here or in worker processes, always in the planned order."""

from collections.abc import Generator, Iterable
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from timelift.records import TimeliftError
from timelift.training.seeds import generator


class ClipDataset(Protocol):
    """Labelled clips whose randomness depends only on the seed, the epoch and the video."""

    def __len__(self) -> int:
        """The number of training videos."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch, from 1, the next clips are drawn for."""
        ...

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        """The uint8 clip (C, T, H, W) and its class index, or (classes,) of 1 and 0."""
        ...


class _OfEpoch(Dataset):
    """Clips by (epoch, index): long-lived workers hear of a new epoch with the index."""

    def __init__(self, clips: ClipDataset):
        self.clips = clips
        self.epoch = -1

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int | Tensor] | TimeliftError:
        epoch, index = key
        if epoch != self.epoch:
            self.clips.set_epoch(epoch)
            self.epoch = epoch
        try:
            return self.clips[index]
        except TimeliftError as error:  # as a value: raised in a worker it would arrive as a traceback
            return error


def load(
    clips: ClipDataset,
    batches: Iterable[list[tuple[int, int]]],
    workers: int,
    device: torch.device,
    seed: int,
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Batches of uint8 clips (B, C, T, H, W) and labels (B,) on the CPU, for lists of (epoch, index).

    Raises:
        TimeliftError: what the data set raised, here or in a worker.
    """
    loader = DataLoader(
        _OfEpoch(clips),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
        generator=generator(seed, "workers"),
    )
    for batch in loader:
        if isinstance(batch, TimeliftError):
            raise batch
        yield batch


def _collate(samples: list) -> tuple[Tensor, Tensor] | TimeliftError:
    for sample in samples:
        if isinstance(sample, TimeliftError):
            return sample
    labels = [torch.as_tensor(label) for _, label in samples]
    return torch.stack([clip for clip, _ in samples]), torch.stack(labels)
