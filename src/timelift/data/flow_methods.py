"""Optical flow of two frames: DIS (Kroeger et al. 2016) or TV-L1 (Zach et al. 2007), as OpenCV has them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from timelift.records.errors import DataError, UsageError

METHODS = ("dis", "tvl1")
OPENCV = cv2.__version__

Between = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FlowSettings:
    """What decides the bytes of a data set of flow, beside its videos."""

    method: str = "dis"
    bound: float = 20.0  # pixels of motion between two frames; longer vectors are cut
    short_side: int = 256  # of the frames before the flow is computed; smaller ones keep their size
    jpeg_quality: int = 95
    opencv: str = OPENCV

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"flow method {self.method!r}: wanted one of {', '.join(METHODS)}")
        if not 0 < self.bound < float("inf"):
            raise UsageError(f"a bound of {self.bound} pixels: wanted a positive number, as 20")
        if self.short_side < 1 or not 1 <= self.jpeg_quality <= 100:
            raise UsageError(
                f"short side {self.short_side} and JPEG quality {self.jpeg_quality}: wanted 1 or more, 1..100"
            )


def flow_between(method: str) -> Between:
    """A function of two grey frames (H, W) uint8: where each pixel of the first goes, (H, W, 2) in pixels.

    dis: OpenCV's medium preset. tvl1: OpenCV's settings of the published method. The first channel is the
    motion to the right, the second that downwards.

    Raises (the function):
        DataError: for frames that are too small for DIS.
    """
    computer = _dis() if method == "dis" else _tvl1()

    def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        try:
            return computer.calc(np.ascontiguousarray(first), np.ascontiguousarray(second), None)
        except cv2.error as error:
            height, width = first.shape
            raise DataError(
                f"{method} gives no flow of frames of {width} x {height} pixels ({error.err}); "
                "for small frames take the method tvl1"
            ) from error

    return between


def _dis() -> Any:
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]


def _tvl1() -> Any:
    return cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
