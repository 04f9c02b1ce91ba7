"""Frames as they come, from a file, a folder of pictures or a camera."""

import time
from collections.abc import Generator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np

from timelift.data.container import frame_rate
from timelift.data.decode import every_frame
from timelift.data.pictures import picture_scaler
from timelift.data.tar_member import exists
from timelift.records.errors import DataError

_TRIES = 4  # readings of a camera before it counts as gone


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """One frame: its number, when it is shown, and its pixels, (H, W, C) uint8 at the network's short side.

    seconds: of the video, or since the camera was opened. picture: in full size, (H, W, 3), where asked for.
    """

    index: int
    seconds: float
    pixels: np.ndarray
    picture: np.ndarray | None = None


def frames_of_file(
    path: Path, short_side: int, channels: int, pictures: bool
) -> Generator[LiveFrame, None, None]:
    """Every frame that decodes, with the pixels that `decode_frames` gives.

    Where the file does not say how many frames a second has, it is one.

    Raises:
        DataError: if the file is missing, cannot be read, or no frame decodes.
    """
    if not exists(path):
        raise DataError(f"{path}: there is no such file")
    small = every_frame(path, short_side=short_side, channels=channels)
    large = every_frame(path, short_side=None) if pictures else repeat(None)
    fps, index = frame_rate(path) or 1.0, -1
    for index, (pixels, picture) in enumerate(zip(small, large, strict=False)):
        yield LiveFrame(index, index / fps, pixels, picture)
    if index < 0:
        raise DataError(f"{path}: no frame decodes")


def frames_of_camera(
    number: int, short_side: int, channels: int, pictures: bool
) -> Generator[LiveFrame, None, None]:
    """The frames of a camera, counted from 0, for as long as it gives any.

    Raises:
        DataError: if it cannot be opened, gives no frame, or, behind the last one, gives no more.
    """
    camera = _opened(number)
    try:
        start, index, scaled = time.monotonic(), 0, None
        while True:
            seen = _next_picture(camera)  # blue, green, red
            if seen is None:
                break
            seconds = time.monotonic() - start
            picture = cv2.cvtColor(seen, cv2.COLOR_BGR2RGB)
            taken = picture if channels == 3 else cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY)[:, :, None]
            scaled = scaled or picture_scaler(short_side, taken)
            yield LiveFrame(index, seconds, scaled(taken), picture if pictures else None)
            index += 1
    finally:
        camera.release()
    if index == 0:
        raise DataError(f"camera {number} gives no frame: is it used by another program?")
    raise DataError(f"camera {number} gives no more frames, after {index}: was it unplugged?")


def _next_picture(camera: cv2.VideoCapture) -> np.ndarray | None:
    """None for a camera that is gone: one that fails once or twice may go on."""
    for tries in range(_TRIES):
        came, seen = camera.read()
        if came:
            return seen
        time.sleep(0.1 * tries)
    return None


def _opened(number: int) -> cv2.VideoCapture:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the one line is ours
    try:
        camera = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not camera.isOpened():
        raise DataError(
            f"camera {number} cannot be opened: cameras count from 0; see that it is plugged in and that you "
            "may read it"
        )
    return camera
