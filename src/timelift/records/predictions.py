"""What a run answered for every test video, and how that is stored (npz)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.records.errors import UsageError
from timelift.records.fusion import Fusion, fused
from timelift.records.whole import whole

PREDICTIONS, VALIDATION_PREDICTIONS = (
    "predictions.npz",
    "validation.npz",
)  # of test and val, in a run's folder


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of every view of every video, in the manifest's order.

    clip_logits: (videos, views, classes) float32, after the consensus over time of one clip; NaN for the
    views that a video lacks where videos differ in their number.
    """

    videos: tuple[str, ...]  # the manifest's names
    groups: tuple[str, ...]
    labels: np.ndarray  # (videos,) int64; (videos, classes) of 1 and 0 where a video may show several
    classes: tuple[str, ...]
    clip_logits: np.ndarray
    fusion: Fusion = "mean"  # the recipe's views.fusion

    def scores(self) -> np.ndarray:
        """Video level: (videos, classes), the softmax of its views, fused into one.

        Where a video may show several classes, the mean over views of each class's sigmoid.
        """
        if self.several:
            return np.nanmean(sigmoid(self.clip_logits), axis=1)
        return fused(softmax(self.clip_logits), self.fusion)

    @property
    def several(self) -> bool:
        """Whether a video may show several classes."""
        return self.labels.ndim == 2

    def correct(self) -> np.ndarray:
        """Video level: (videos,) float64, 1.0 where the highest score is the label's.

        Raises:
            UsageError: where a video may show several classes: no single answer is right.
        """
        if self.several:
            raise UsageError(
                "these videos may show several classes, so no answer is simply right or wrong, and nothing "
                "that rests on it (compare, fuse, use of time) judges them; see mean average precision"
            )
        return (self.scores().argmax(axis=1) == self.labels).astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of every number, in float64."""
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700)))


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write one npz file, whole or not at all."""
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            videos=np.array(predictions.videos),
            groups=np.array(predictions.groups),
            labels=predictions.labels,
            classes=np.array(predictions.classes),
            clip_logits=predictions.clip_logits.astype(np.float32),
            fusion=np.array(predictions.fusion),
        )


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return Predictions(
            videos=tuple(stored["videos"].tolist()),
            groups=tuple(stored["groups"].tolist()),
            labels=stored["labels"],
            classes=tuple(stored["classes"].tolist()),
            clip_logits=stored["clip_logits"],
            fusion=stored["fusion"].item() if "fusion" in stored else "mean",  # older files have none
        )
