"""A video file opened, and its frames one after the other, going on behind what is broken."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from timelift.data.facts import Faults
from timelift.data.tar_member import archive_of, open_file
from timelift.records.errors import DataError


def open_container(path: Path) -> InputContainer:
    """The file, or the member of a tar, as FFmpeg sees it; to be closed.

    Raises:
        av.FFmpegError, OSError: if it cannot be opened.
    """
    # a title in an unknown encoding must not stop a video whose frames are fine
    if archive_of(Path(path)) is not None:
        return av.open(open_file(Path(path)), "r", metadata_errors="replace")
    return av.open(str(path), metadata_errors="replace")


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Its best video stream, decoded by one thread.

    For short videos one is 1.4 times faster than two, and what a damaged file gives does not depend on the
    machine.

    Raises:
        DataError: if it has none.
    """
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise DataError(f"{path} has no video stream")
    stream.codec_context.thread_count = 1
    return stream


def frame_rate(path: Path) -> float:
    """Frames a second as a file says it; 0 where it does not, and for a folder.

    Raises:
        DataError: if the file cannot be read as a video.
    """
    if Path(path).is_dir():
        return 0.0
    try:
        with closing(open_container(path)) as container:
            return float(video_stream(container, path).average_rate or 0)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {why_unreadable(path, error)}") from error


def decoded_frames(container: InputContainer, stream: VideoStream, faults: Faults) -> Iterator[VideoFrame]:
    """Every frame that decodes, going on behind broken packets."""
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                faults.add("a packet is cut off")
            yield from _checked(packet.decode, faults)
    except av.FFmpegError as error:
        faults.add(_words(error))
        yield from _checked(partial(stream.decode, None), faults)  # what the decoder still holds


def _checked(decode: Callable[[], list], faults: Faults) -> list[VideoFrame]:
    try:
        frames = decode()
    except av.FFmpegError as error:
        faults.add(_words(error))
        return []
    for frame in frames:
        if frame.is_corrupt:
            faults.add("a frame is corrupt")
    return frames


def clockwise(frame: VideoFrame) -> int:
    """Degrees clockwise, a multiple of 90, by which the frame is turned to stand upright."""
    return round(-frame.rotation / 90) % 4 * 90


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def why_unreadable(path: Path, error: Exception) -> str:
    """The reason in words."""
    if Path(path).is_dir() and not isinstance(error, DataError):
        return "it is a folder, but not one of pictures only"
    return _words(error)
