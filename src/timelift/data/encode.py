"""Frames to a video file: grey without loss, and pictures as they are shown."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from timelift.records.errors import DataError, UsageError
from timelift.records.whole import whole


def encode_grey(frames: np.ndarray, fps: int) -> bytes:
    """Matroska with FFV1 of grey frames (T, H, W) uint8: the same bytes for the same frames, nothing lost."""
    file = io.BytesIO()
    # bitexact: no date and no random id in the file
    with av.open(file, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "gray"
        stream.codec_context.thread_count = 1
        for time, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="gray")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@contextmanager
def writing_video(path: Path) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Gives a function that appends a picture (H, W, 3) uint8, RGB, at its seconds: H.264 where there is one.

    The file is there, whole, when the block ends, and not at all if the block fails. A picture of odd sides
    loses its last row or column.

    Raises:
        UsageError: for a name that does not end in .mp4, .mov or .mkv.
        DataError: if no picture came.
        DiskFull: if there is no room.
    """
    if path.suffix.lower() not in _CONTAINERS:
        raise UsageError(f"{path}: a video is written to {', '.join(_CONTAINERS)}")
    with whole(path) as partial, av.open(str(partial), "w", format=_CONTAINERS[path.suffix.lower()]) as file:
        film = _Film(file)
        yield film.append
        if film.stream is None:
            raise DataError(f"{path}: no picture came that could be written")
        file.mux(film.stream.encode())


class _Film:
    """Pictures, each shown from its own time on, to an open container."""

    def __init__(self, file: OutputContainer):
        self.file = file
        self.stream: VideoStream | None = None
        self.last = -1  # milliseconds

    def append(self, picture: np.ndarray, seconds: float) -> None:
        even = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
        self.stream = self.stream or self._begun(even)
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        self.last = max(round(seconds * 1000), self.last + 1)  # no two at once: containers refuse that
        frame.pts, frame.time_base = self.last, _MILLISECOND
        self.file.mux(self.stream.encode(frame))

    def _begun(self, picture: np.ndarray) -> VideoStream:
        stream = self.file.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=25)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _MILLISECOND
        return stream


_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_MILLISECOND = Fraction(1, 1000)
