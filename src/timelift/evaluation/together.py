"""All clips of a video answered together, where they overlap and share work."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from timelift.records import UsageError

Together = Callable[[Tensor, Tensor], Tensor]  # frames (N, C, H, W), places (clips, T) -> logits (clips, K)


@runtime_checkable
class FramesOnce(Protocol):
    """A number of videos that give each frame of their views once, whatever clips it is in.

    `overlapping(i)` is (uint8 (crops, N, C, H, W), places (clips, T) among the N, label): the views, clip by
    clip, are every clip in every crop.
    """

    def __len__(self) -> int: ...

    def overlapping(self, index: int, /) -> tuple[Tensor, Tensor, int | Tensor]:
        """One video."""
        ...


def answered_together(
    together: Together,
    clips: Any,
    videos: range,
    labels: dict[int, int | Tensor],
    pixels: Callable[[Tensor], Tensor],
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[list[int], Tensor]]:
    """Each view's video and logits (V, K), video by video; the labels are noted on the way.

    pixels: of uint8 (B, C, T, H, W) the network's input.

    Raises:
        UsageError: for clips that give no frames.
    """
    if not isinstance(clips, FramesOnce):
        raise UsageError(f"{type(clips).__name__} has no overlapping(index): views are judged one by one")
    for video in videos:
        crops, places, labels[video] = clips.overlapping(video)
        of_crops = []
        for crop in crops:  # (N, C, H, W)
            frames = pixels(crop.transpose(0, 1).unsqueeze(0))[0].transpose(0, 1)
            of_crops.append(together(frames, places).float().cpu())
        answers = torch.stack(of_crops, dim=1).flatten(0, 1)
        yield [video] * len(answers), answers
        if progress is not None:
            progress(video + 1, len(clips))
