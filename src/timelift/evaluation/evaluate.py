"""Test videos -> predictions: every view of every video through the network, nothing trained or changed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from timelift.evaluation.together import Together, answered_together
from timelift.records import DataError, Manifest, Predictions, UsageError
from timelift.records.fusion import Fusion


class Clips(Protocol):
    """The videos of a data set, each as all its views: `clips[i]` is (uint8 (V, C, T, H, W), class index).

    Where videos may show several classes: (classes,) of 1 and 0 in place of the index.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, int | Tensor]: ...


Progress = Callable[[int, int], None]  # (videos done, videos in all)


def _alone(mine: Any) -> list[Any]:
    return [mine]


@dataclass(frozen=True)
class Share:
    """Which of several processes judges here, and how their answers come together; by default one alone."""

    rank: int = 0
    processes: int = 1
    gather: Callable[[Any], list[Any]] = _alone  # this process's value -> every process's, in order

    def of(self, videos: int, block: int) -> Iterator[range]:
        """This process's blocks of neighbouring videos; every video is in one block of one process."""
        for start in range(self.rank * block, videos, self.processes * block):
            yield range(start, min(start + block, videos))


ALONE = Share()


def evaluate(
    model: nn.Module,
    clips: Clips,
    manifest: Manifest,
    *,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    progress: Progress | None = None,
    batch_views: int = 8,
    fusion: Fusion = "mean",
    share: Share = ALONE,
    together: Together | None = None,
) -> Predictions:
    """The network's logits for every view of every video of the manifest, in its order.

    `model` (B, C, T, H, W) -> (B, classes) stands on `device` already; it is put in eval mode for the time
    of the call, and every submodule back as it was. `normalise` makes the network's input of a batch of
    uint8 views, on `device`. Videos may differ in their number of views: the rest of `clip_logits` is NaN.
    fusion: how a video's views become one score, the recipe's `views.fusion`. share: of several processes,
    which all call this. Each judges blocks of `batch_views` videos, no batch crosses a block, and all get all
    answers: so the answers do not depend on the number of processes. together: answers all clips of a video
    in one crop, in the model's place, where they share work; clips are then `FramesOnce`.

    Raises:
        UsageError: if clips and manifest are not the same videos.
        DataError: if the network answers for other classes, or with something that is not a number.
    """
    _check_same_videos(clips, manifest, batch_views)

    def pixels(views: Tensor) -> Tensor:
        return normalise(views.to(device))

    mine: dict[int, tuple[int | Tensor, list[Tensor]]] = {}  # video -> its label and its views' logits
    with evaluating(model), torch.inference_mode():
        for block in share.of(len(clips), batch_views):
            labels_of: dict[int, int | Tensor] = {}
            rows: dict[int, list[Tensor]] = {video: [] for video in block}
            answers: Iterator[tuple[list[int], Tensor]]
            if together is None:
                batches = in_batches(_views(clips, block, labels_of, progress), batch_views)
                answers = ((owners, model(pixels(views)).float().cpu()) for owners, views in batches)
            else:
                answers = answered_together(together, clips, block, labels_of, pixels, progress)
            for owners, logits in answers:  # (B, classes)
                _check_answer(logits, owners, manifest)
                for owner, row in zip(owners, logits, strict=True):
                    rows[owner].append(row)
            mine |= {video: (labels_of[video], rows[video]) for video in block}
    judged = {video: answer for part in share.gather(mine) for video, answer in part.items()}
    labels = np.array([np.asarray(judged[video][0]) for video in range(len(clips))]).astype(np.int64)
    per_video = [judged[video][1] for video in range(len(clips))]
    _check_labels(labels, manifest)
    return Predictions(
        videos=tuple(video.name for video in manifest.videos),
        groups=tuple(video.group for video in manifest.videos),
        labels=labels,
        classes=manifest.classes,
        clip_logits=padded(per_video),
        fusion=fusion,
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; outside every submodule's own mode again (a frozen batch norm stays in eval)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def in_batches(views: Iterable[tuple[int, Tensor]], size: int) -> Iterator[tuple[list[int], Tensor]]:
    """Views (C, T, H, W), each with its video's index, in batches (B, C, T, H, W) of one shape, B <= size."""
    owners: list[int] = []
    batch: list[Tensor] = []
    for owner, view in views:
        if len(batch) == size or (batch and view.shape != batch[0].shape):
            yield owners, torch.stack(batch)
            owners, batch = [], []
        owners.append(owner)
        batch.append(view)
    if batch:
        yield owners, torch.stack(batch)


def padded(per_video: list[list[Tensor]]) -> np.ndarray:
    """Lists of logits (classes,) -> (videos, views, classes) float32; a view that a video lacks is NaN."""
    views = max(len(rows) for rows in per_video)
    classes = len(per_video[0][0])
    array = np.full((len(per_video), views, classes), np.nan, dtype=np.float32)
    for video, rows in enumerate(per_video):
        array[video, : len(rows)] = torch.stack(rows).numpy()
    return array


def _views(
    clips: Clips, block: range, labels: dict[int, int | Tensor], progress: Progress | None
) -> Iterator[tuple[int, Tensor]]:
    for index in block:
        views, labels[index] = clips[index]
        if views.ndim != 5 or not len(views):
            raise UsageError(
                f"video {index} came as {tuple(views.shape)}: wanted (views, channels, frames, height, width)"
                " with at least one view"
            )
        for view in views:
            yield index, view
        if progress is not None:
            progress(index + 1, len(clips))


def _check_same_videos(clips: Clips, manifest: Manifest, batch_views: int) -> None:
    if not manifest.videos:
        raise DataError("nothing to evaluate: the manifest holds no video of this split")
    if len(clips) != len(manifest.videos):
        raise UsageError(
            f"{len(clips)} clips for {len(manifest.videos)} videos of the manifest: make one from the other"
        )
    if batch_views < 1:
        raise UsageError(f"batch_views is {batch_views}: it takes at least one view at a time")


def _check_answer(logits: Tensor, owners: list[int], manifest: Manifest) -> None:
    if logits.ndim != 2 or logits.shape[1] != len(manifest.classes):
        raise DataError(
            f"the network answers with shape {tuple(logits.shape)} for {len(owners)} clips, but the videos "
            f"have {len(manifest.classes)} classes: make the network with classes={len(manifest.classes)}"
        )
    finite = torch.isfinite(logits).all(dim=1)
    if not finite.all():
        video = manifest.videos[owners[int((~finite).nonzero()[0, 0])]]
        raise DataError(
            f"the network's answer for {video.name} is not a number: its training diverged; "
            "lower the learning rate, or clip the gradient"
        )


def _check_labels(labels: np.ndarray, manifest: Manifest) -> None:
    for video, label in zip(manifest.videos, labels, strict=True):
        came = tuple(np.flatnonzero(label)) if label.ndim else (int(label),)
        if set(came) != set(manifest.targets(video)):
            one, other = (", ".join(map(str, sorted(of))) for of in (came, manifest.targets(video)))
            raise UsageError(
                f"{video.name} came with class {one}, but its label {video.label!r} is class "
                f"{other} of the manifest: clips and manifest stand in different orders"
            )
