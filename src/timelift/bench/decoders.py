"""Frames of a video in the order of decoding, as plain calls of PyAV and of OpenCV give them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np


def sequential(path: Path) -> Iterator[np.ndarray]:
    """Every frame that PyAV decodes, one after the other, (H, W, 3) RGB as stored: the truth."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def plain_pyav(path: Path, indices: Sequence[int], size: tuple[int, int] | None) -> np.ndarray:
    """(T, H, W, 3): each wanted frame asked for its pixels; size: (width, height), None as stored."""
    wanted, last = set(indices), max(indices)
    width, height = size or (None, None)
    found = {}
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                found[index] = frame.to_ndarray(
                    format="rgb24", width=width, height=height, interpolation="AREA"
                )
            if index == last:
                break
    return np.stack([found[index] for index in indices])


def plain_opencv(path: Path, indices: Sequence[int], size: tuple[int, int] | None) -> np.ndarray:
    """(T, H, W, 3): every frame is grabbed, those that are wanted are retrieved; one thread, its cheapest."""
    capture = _opened(path)
    wanted, found = set(indices), {}
    for index in range(max(indices) + 1):
        if not capture.grab():
            break
        if index in wanted:
            found[index] = _rgb(capture.retrieve()[1], size)
    capture.release()
    return np.stack([found[index] for index in indices if index in found])


def seeking_opencv(path: Path, indices: Sequence[int], size: tuple[int, int] | None) -> np.ndarray:
    """(T, H, W, 3): OpenCV is sent to the first wanted frame, and read on from there; indices ascend."""
    capture = _opened(path)
    capture.set(cv2.CAP_PROP_POS_FRAMES, indices[0])
    found = []
    for _ in indices:
        there, frame = capture.read()
        if not there:
            break
        found.append(_rgb(frame, size))
    capture.release()
    return np.stack(found) if found else np.empty((0, 1, 1, 3), np.uint8)


def _opened(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _rgb(frame: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    scaled = frame if size is None else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB)
