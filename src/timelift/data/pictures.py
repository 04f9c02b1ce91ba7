"""A folder of pictures read as the frames of one video."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from timelift.data.facts import Facts, Faults, judge
from timelift.data.looks import THUMBNAIL, Looks
from timelift.data.tree import pictures


def folder_frames(folder: Path, channels: int, faults: Faults) -> Iterator[np.ndarray]:
    """The pictures of a folder in natural order, (H, W, channels) uint8.

    A picture that is broken or cut off gives no frame, and is noted in `faults`.
    """
    for path in pictures(folder):
        picture = _decode(path.read_bytes(), channels)
        if picture is None:
            faults.add(f"{path.name} is no picture that can be read")
        else:
            yield picture


def _decode(data: bytes, channels: int) -> np.ndarray | None:
    if not data:
        return None
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    return None if picture is None else picture.reshape(*picture.shape[:2], channels)


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture (H, W, C) scaled to (height, width, C): area means downwards, bilinear upwards."""
    if picture.shape[:2] == (height, width):
        return picture
    how = cv2.INTER_AREA if width <= picture.shape[1] else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (width, height), interpolation=how)
    return scaled.reshape(height, width, picture.shape[2])


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Width and height whose shorter one is `short_side`, of the same aspect as near as pixels allow."""
    if short_side is None:
        return width, height
    scale = short_side / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def picture_scaler(short_side: int | None, first: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Scales pictures to the first one's scaled size."""
    width, height = scaled_size(first.shape[1], first.shape[0], short_side)
    return lambda picture: resized(picture, width, height)


def examine_folder(folder: Path) -> Facts:
    """Decode every picture once and say what the folder holds."""
    faults = Faults()
    declared = len(pictures(folder))
    seen = Looks()
    sizes = []
    for picture in folder_frames(folder, 3, faults):
        sizes.append(picture.shape[:2])
        seen.add(partial(_thumbnail, picture))
    if not sizes:
        return Facts(status="unreadable", errors=len(faults.words), reason=faults.words[0])
    status, reason = judge(len(sizes), declared, "", faults)
    height, width = sizes[0]
    return Facts(
        status=status,
        frames=len(sizes),
        declared_frames=declared,
        width=width,
        height=height,
        errors=len(faults.words),
        reason=reason,
        frame_hashes=seen.words(),
    )


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(resized(picture, *THUMBNAIL), cv2.COLOR_RGB2GRAY)
