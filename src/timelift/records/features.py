"""Features of videos: one row a video, with what is needed to learn from them; stored as npz."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.records.errors import DataError
from timelift.records.whole import whole


@dataclass(frozen=True, eq=False)
class Features:
    """What one layer of one network says of every video, averaged over its views."""

    videos: tuple[str, ...]
    groups: tuple[str, ...]
    splits: tuple[str, ...]
    labels: np.ndarray  # (videos,) int64
    classes: tuple[str, ...]
    rows: np.ndarray  # (videos, D) float32
    source: str  # the run or the variant, in words
    layer: str
    recipe: str  # of the clips and views, as JSON
    data_digest: str

    def of_split(self, split: str) -> np.ndarray:
        """(videos of the split,) their places, in order."""
        return np.flatnonzero(np.array(self.splits) == split)


def picked(values: Sequence[str], places: np.ndarray) -> tuple[str, ...]:
    """The values at these places."""
    return tuple(values[place] for place in places)


def write_features(features: Features, path: Path) -> None:
    """Write one npz file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            features=features.rows.astype(np.float32),
            videos=np.array(features.videos),
            groups=np.array(features.groups),
            splits=np.array(features.splits),
            labels=features.labels,
            classes=np.array(features.classes),
            source=np.array(features.source),
            layer=np.array(features.layer),
            recipe=np.array(features.recipe),
            data_digest=np.array(features.data_digest),
        )


def read_features(path: Path) -> Features:
    """Read what `write_features` wrote.

    Raises:
        DataError: if the file holds no features.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Features(
                videos=tuple(stored["videos"].tolist()),
                groups=tuple(stored["groups"].tolist()),
                splits=tuple(stored["splits"].tolist()),
                labels=stored["labels"],
                classes=tuple(stored["classes"].tolist()),
                rows=stored["features"],
                source=stored["source"].item(),
                layer=stored["layer"].item(),
                recipe=stored["recipe"].item(),
                data_digest=stored["data_digest"].item(),
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no features (npz of `timelift features`): {error}") from error
