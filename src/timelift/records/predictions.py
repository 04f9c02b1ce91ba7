"""What a run answered for every test video, and how that is stored (npz)."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of every view of every video, in the manifest's order.

    clip_logits: (videos, views, classes) float32, after the consensus over time of one clip; NaN for the
    views that a video lacks where videos differ in their number.
    """

    videos: tuple[str, ...]  # the manifest's paths
    groups: tuple[str, ...]
    labels: np.ndarray  # (videos,) int64
    classes: tuple[str, ...]
    clip_logits: np.ndarray

    def scores(self) -> np.ndarray:
        """Video level: (videos, classes), the mean over its views of the softmax."""
        return np.nanmean(softmax(self.clip_logits), axis=1)

    def correct(self) -> np.ndarray:
        """Video level: (videos,) float64, 1.0 where the highest score is the label's."""
        return (self.scores().argmax(axis=1) == self.labels).astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write one npz file, whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            videos=np.array(predictions.videos),
            groups=np.array(predictions.groups),
            labels=predictions.labels,
            classes=np.array(predictions.classes),
            clip_logits=predictions.clip_logits.astype(np.float32),
        )
    os.replace(partial, path)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return Predictions(
            videos=tuple(stored["videos"].tolist()),
            groups=tuple(stored["groups"].tolist()),
            labels=stored["labels"],
            classes=tuple(stored["classes"].tolist()),
            clip_logits=stored["clip_logits"],
        )
