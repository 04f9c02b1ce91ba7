"""Does a network use time? Its accuracy on the same clips in order, shuffled, reversed and frozen.

A network whose answer does not fall when the frames stand in another order has judged by what is seen, not
by what happens; one that keeps its accuracy on a single repeated frame judges by one picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from timelift.evaluation.evaluate import Clips
from timelift.records import Predictions, UsageError


@dataclass(frozen=True)
class Loss:
    """What a disturbance of time costs: accuracy in order minus accuracy disturbed, paired by video.

    standard_error: over the test videos clustered by group, for this one trained network; None with fewer
    than two groups.
    """

    mean: float
    standard_error: float | None


@dataclass(frozen=True)
class TimeUse:
    """Video-level top-1 of one trained network on four orders of the same frames."""

    ordered: float
    shuffled: float
    reversed: float
    frozen: float
    shuffled_loss: Loss
    reversed_loss: Loss
    frozen_loss: Loss

    def metrics(self) -> dict[str, float]:
        """The four accuracies under the names that a run's metrics give them."""
        return {f"time/{name}": getattr(self, name) for name in ("ordered", "shuffled", "reversed", "frozen")}


def time_use(
    ordered: Predictions, shuffled: Predictions, backwards: Predictions, frozen: Predictions
) -> TimeUse:
    """Compare four predictions of one network for the same videos.

    Raises:
        UsageError: if they are not of the same videos in the same order.
    """
    disturbed = (shuffled, backwards, frozen)
    if any(other.videos != ordered.videos for other in disturbed):
        raise UsageError("the four predictions are not of the same videos: evaluate all on one manifest")
    right = [predictions.correct() for predictions in (ordered, *disturbed)]
    losses = [paired_loss(right[0] - other, ordered.groups) for other in right[1:]]
    return TimeUse(
        ordered=float(right[0].mean()),
        shuffled=float(right[1].mean()),
        reversed=float(right[2].mean()),
        frozen=float(right[3].mean()),
        shuffled_loss=losses[0],
        reversed_loss=losses[1],
        frozen_loss=losses[2],
    )


def paired_loss(differences: np.ndarray, groups: tuple[str, ...]) -> Loss:
    """Mean of the videos' differences (videos,) and its standard error, videos clustered by group."""
    mean = float(differences.mean())
    names, of_video = np.unique(np.array(groups), return_inverse=True)
    if len(names) < 2:
        return Loss(mean, None)
    sums = np.bincount(of_video, weights=differences - mean)  # (groups,)
    variance = (sums**2).sum() * len(names) / (len(names) - 1) / len(differences) ** 2
    return Loss(mean, float(np.sqrt(variance)))


@dataclass(frozen=True)
class Reordered:
    """The same clips with their frames in another order: `order(video index, frames)` -> frame indices."""

    clips: Clips
    order: Callable[[int, int], Tensor]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int, /) -> tuple[Tensor, int | Tensor]:
        views, label = self.clips[index]
        return views.index_select(2, self.order(index, views.shape[2])), label


def shuffled(clips: Clips, seed: int) -> Reordered:
    """Every video's frames in an order drawn from (seed, video), the same for all its views."""

    def order(index: int, frames: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng([seed, index]).permutation(frames))

    return Reordered(clips, order)


def backwards(clips: Clips) -> Reordered:
    """Every clip from its last frame to its first."""
    return Reordered(clips, lambda _, frames: torch.arange(frames - 1, -1, -1))


def frozen(clips: Clips) -> Reordered:
    """Every clip as its middle frame, repeated."""
    return Reordered(clips, lambda _, frames: torch.full((frames,), frames // 2))
