"""Frames of a video file, a GIF, a folder of pictures or of optical flow, counted in the order of decoding.

Frames are never looked up by timestamp: those of real AVI files are neither complete nor sorted, and seeking
by them gives wrong frames. One thread decodes: for short videos it is 1.4 times faster than two, and what a
damaged file gives does not depend on the machine.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from timelift.data import flow_vectors
from timelift.data.facts import Facts, Faults, increasing, judge
from timelift.data.flow_folder import examine_flow, flow_frames, part_of_flow, read_facts
from timelift.data.looks import THUMBNAIL, Looks
from timelift.data.parts import Part, frame_seconds, part_of
from timelift.data.pictures import examine_folder, folder_frames, picture_scaler, scaled_size
from timelift.data.tar_member import archive_of, open_file
from timelift.data.tree import is_flow_folder, is_frame_folder
from timelift.records.errors import DataError

Frame = TypeVar("Frame")

_FORMATS = {1: "gray", 3: "rgb24"}
_YUV = frozenset(["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"])  # yuvj: full range
_ROOM = 64  # frames at first, where their number is not known; doubled when it is full


def decode_frames(
    path: Path, indices: Sequence[int] | None, *, short_side: int | None, channels: int = 3
) -> np.ndarray:
    """The frames with these indices, in the order asked for: (T, H, W, channels) uint8, RGB, grey or flow.

    Indices count decoded frames from 0 and may repeat; None gives all. `short_side` scales to that many
    pixels and keeps the aspect; None keeps the size. Frames of another size take the first one's.
    Decoding stops after the last wanted frame. A grey source asked for grey comes out bit by bit. Of a folder
    that `timelift flow` made, channels is 2; its vectors are scaled with it.

    Raises:
        DataError: if the file cannot be read, has fewer frames than are needed, or is flow where a video
            is wanted, or the other way round.
        ValueError: for no index, a negative one, or channels other than 1, 2 and 3.
    """
    if channels not in _FORMATS and channels != flow_vectors.CHANNELS:
        raise ValueError(f"channels is 1 (grey), 2 (optical flow) or 3 (RGB), not {channels}")
    if indices is not None and (len(indices) == 0 or min(indices) < 0):
        raise ValueError(f"frame indices count from 0 and there is at least one, got {list(indices)}")
    if _wants_flow(path, channels):
        return flow_frames(Path(path), indices, short_side=short_side)
    if is_frame_folder(Path(path)):
        decoded = folder_frames(Path(path), channels, Faults())
        return _picked(path, decoded, indices, partial(picture_scaler, short_side))
    try:
        with closing(_open(path)) as container:
            decoded_file = _decoded(container, _video_stream(container, path), Faults())
            return _picked(path, decoded_file, indices, partial(_frame_scaler, short_side, channels))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {_why(path, error)}") from error


def every_frame(path: Path, *, short_side: int | None, channels: int = 3) -> Iterator[np.ndarray]:
    """All frames one after the other, (H, W, channels) uint8 as `decode_frames` gives them; none is kept.

    Raises:
        DataError: if the file cannot be read.
    """
    if _wants_flow(path, channels):
        for index in range(read_facts(Path(path)).frames):
            yield flow_frames(Path(path), [index], short_side=short_side)[0]
        return
    if is_frame_folder(Path(path)):
        pixels: Callable[[np.ndarray], np.ndarray] | None = None
        for picture in folder_frames(Path(path), channels, Faults()):
            pixels = pixels or picture_scaler(short_side, picture)
            yield pixels(picture)
        return
    try:
        with closing(_open(path)) as container:
            scaled: Callable[[VideoFrame], np.ndarray] | None = None
            for frame in _decoded(container, _video_stream(container, path), Faults()):
                scaled = scaled or _frame_scaler(short_side, channels, frame)
                yield scaled(frame)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {_why(path, error)}") from error


def examine(path: Path) -> Facts:
    """Decode a video once and say what it holds; a file that cannot be read is an answer, not an error."""
    return examine_parts(path, [(0.0, 0.0)])[0]


def examine_parts(path: Path, parts: Sequence[Part]) -> list[Facts]:
    """What each part of a video (seconds from, to; 0, 0 is all of it) holds, decoded once for all of them."""
    try:
        if is_flow_folder(Path(path)):
            flow = examine_flow(Path(path))
            return [part_of_flow(flow, part) for part in parts]
        if is_frame_folder(Path(path)):
            whole, times = examine_folder(Path(path)), None
        else:
            whole, times = _examine_file(Path(path))
    except (av.FFmpegError, OSError, DataError) as error:
        return [Facts(status="unreadable", errors=1, reason=_why(path, error))] * len(parts)
    return [part_of(whole, times, part) for part in parts]


def _wants_flow(path: Path, channels: int) -> bool:
    """Whether this is flow, and wanted as such."""
    is_flow = is_flow_folder(Path(path))
    if is_flow and channels != flow_vectors.CHANNELS:
        raise DataError(
            f"{path} is optical flow, and {channels} channel(s) are wanted: --set clip.channels=2"
        )
    if not is_flow and channels == flow_vectors.CHANNELS:
        raise DataError(f"{path} is no optical flow, which clip.channels=2 wants: make it by `timelift flow`")
    return is_flow


def _picked(
    path: Path,
    decoded: Iterator[Frame],
    indices: Sequence[int] | None,
    scaler: Callable[[Frame], Callable[[Frame], np.ndarray]],
) -> np.ndarray:
    """The wanted frames, each put in its place at once; decoding goes no further than the last of them."""
    places = None if indices is None else _places(indices)
    last = max(indices) if indices is not None else None
    kept = np.empty(0, np.uint8)
    count = 0
    pixels: Callable[[Frame], np.ndarray] | None = None
    for index, frame in enumerate(decoded):
        count = index + 1
        pixels = pixels or scaler(frame)  # the first frame sets the size, wanted or not
        if places is None or index in places:
            picture = pixels(frame)
            if len(kept) == 0:
                kept = np.empty((_ROOM if indices is None else len(indices), *picture.shape), np.uint8)
            elif places is None and index == len(kept):
                kept = np.concatenate([kept, np.empty_like(kept)])
            for place in (index,) if places is None else places[index]:
                kept[place] = picture
        if index == last:
            break
    needed = 1 if last is None else last + 1
    if count < needed:
        raise DataError(
            f"{path}: {needed} frame(s) needed, but only {count} decode; run `timelift scan` again"
        )
    return kept[:count] if indices is None else kept


def _places(indices: Sequence[int]) -> dict[int, list[int]]:
    """Where each wanted frame stands in the clip: 3, 4, 4 -> {3: [0], 4: [1, 2]}."""
    places: dict[int, list[int]] = {}
    for place, index in enumerate(indices):
        places.setdefault(index, []).append(place)
    return places


def _open(path: Path) -> InputContainer:
    # a title in an unknown encoding must not stop a video whose frames are fine
    if archive_of(Path(path)) is not None:
        return av.open(open_file(Path(path)), "r", metadata_errors="replace")
    return av.open(str(path), metadata_errors="replace")


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise DataError(f"{path} has no video stream")
    stream.codec_context.thread_count = 1
    return stream


def _decoded(container: InputContainer, stream: VideoStream, faults: Faults) -> Iterator[VideoFrame]:
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


def _clockwise(frame: VideoFrame) -> int:
    """Degrees clockwise, a multiple of 90, by which the frame is turned to stand upright."""
    return round(-frame.rotation / 90) % 4 * 90


def _frame_scaler(
    short_side: int | None, channels: int, first: VideoFrame
) -> Callable[[VideoFrame], np.ndarray]:
    """Decoded frames to upright pixels of the first one's scaled size, through one shared reformatter.

    FFmpeg scales to RGB of an odd width by its slowest way; to planes it takes half the time, and below two
    thirds of the size the bits are the same.
    """
    reformatter = VideoReformatter()
    width, height = scaled_size(first.width, first.height, short_side)
    quarter_turns = -_clockwise(first) // 90

    def pixels(frame: VideoFrame) -> np.ndarray:
        how = Interpolation.AREA if width <= frame.width else Interpolation.BILINEAR
        small = 3 * height < 2 * frame.height and 3 * width < 2 * frame.width
        as_planes = channels == 3 and width % 2 == 1 and small and frame.format.name in _YUV
        form = "gbrp" if as_planes else _FORMATS[channels]
        scaled = reformatter.reformat(frame, width, height, form, interpolation=how, threads=1)
        found = _planes(scaled, 1 if as_planes else channels)
        if as_planes:
            green, blue, red = found
            found = [cv2.merge([red, green, blue])]
        return np.rot90(found[0], k=quarter_turns) if quarter_turns else found[0]

    return pixels


def _planes(frame: VideoFrame, channels: int) -> list[np.ndarray]:
    """(H, W, channels) of each plane, where the frame has them in memory: nothing is copied."""
    shape = frame.height, frame.width, channels
    return [
        np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]
        .reshape(frame.height, plane.line_size)[:, : frame.width * channels]
        .reshape(shape)
        for plane in frame.planes
    ]


def _examine_file(path: Path) -> tuple[Facts, list[float] | None]:
    """What the file holds, and the seconds at which its frames stand (None: it does not say)."""
    if path.is_file() and path.stat().st_size == 0:
        return Facts(status="unreadable", errors=1, reason="the file is empty (0 bytes)"), None
    faults = Faults()
    times: list[int | None] = []
    seen = Looks()
    reformatter = VideoReformatter()
    first: VideoFrame | None = None
    with closing(_open(path)) as container:
        stream = _video_stream(container, path)
        for frame in _decoded(container, stream, faults):
            first = first or frame
            times.append(frame.pts)
            seen.add(partial(_thumbnail, reformatter, frame))
        missing = _missing_end(container, stream, times)
        # read while the container is open: behind its end these are whatever lies in freed memory
        declared, rate, time_base = stream.frames, stream.average_rate, stream.time_base
    if first is None:
        reason = faults.words[0] if faults.words else "it holds no video frames"
        return Facts("unreadable", errors=len(faults.words), reason=f"no frame decodes: {reason}"), None
    turn = _clockwise(first)
    width, height = (first.height, first.width) if turn in (90, 270) else (first.width, first.height)
    status, reason = judge(len(times), declared, missing, faults)
    facts = Facts(
        status=status,
        frames=len(times),
        declared_frames=declared,
        width=width,
        height=height,
        fps=round(float(rate or 0), 3),
        rotation=turn,
        timestamps_increasing=increasing(times),
        errors=len(faults.words),
        reason=reason,
        frame_hashes=seen.words(),
    )
    return facts, frame_seconds(times, time_base, facts)


def _thumbnail(reformatter: VideoReformatter, frame: VideoFrame) -> np.ndarray:
    """The frame as few grey pixels, as stored (not turned)."""
    small = reformatter.reformat(frame, *THUMBNAIL, "gray", interpolation=Interpolation.AREA, threads=1)
    return small.to_ndarray()


def _missing_end(container: InputContainer, stream: VideoStream, times: list[int | None]) -> str:
    """In words, if the frames end more than 10 % and half a second before the duration that is declared.

    Matroska and WebM declare no count of frames, and a file cut off there gives no decoder error.
    """
    known = [time for time in times if time is not None]
    declared = _declared_seconds(container, stream)
    if not known or not declared or stream.time_base is None:
        return ""
    seconds = float(max(known) * stream.time_base)
    if declared - seconds < max(0.5, 0.1 * declared):
        return ""
    return f"the frames end after {seconds:.1f} s, the container declares {declared:.1f} s"


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float:
    """The stream's own duration if the container has one (audio may be longer), else the container's."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    match stream.metadata.get("DURATION", "").split(":"):
        case [hours, minutes, seconds]:
            return 3600 * float(hours) + 60 * float(minutes) + float(seconds)
    return (container.duration or 0) / av.time_base


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _why(path: Path, error: Exception) -> str:
    if Path(path).is_dir() and not isinstance(error, DataError):
        return "it is a folder, but not one of pictures only"
    return _words(error)
