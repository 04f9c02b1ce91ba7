"""Frames of a video file, a GIF, a folder of pictures or of optical flow, counted in the order of decoding.

Frames are never looked up by timestamp: those of real AVI files are neither complete nor sorted, and seeking
by them gives wrong frames.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from timelift.data import flow_vectors
from timelift.data.container import clockwise, decoded_frames, open_container, video_stream, why_unreadable
from timelift.data.facts import Faults
from timelift.data.flow_folder import flow_frames, read_facts
from timelift.data.pictures import folder_frames, picture_scaler, scaled_size
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
        with closing(open_container(path)) as container:
            decoded_file = decoded_frames(container, video_stream(container, path), Faults())
            return _picked(path, decoded_file, indices, partial(_frame_scaler, short_side, channels))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {why_unreadable(path, error)}") from error


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
        with closing(open_container(path)) as container:
            scaled: Callable[[VideoFrame], np.ndarray] | None = None
            for frame in decoded_frames(container, video_stream(container, path), Faults()):
                scaled = scaled or _frame_scaler(short_side, channels, frame)
                yield scaled(frame)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {why_unreadable(path, error)}") from error


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


def _frame_scaler(
    short_side: int | None, channels: int, first: VideoFrame
) -> Callable[[VideoFrame], np.ndarray]:
    """Decoded frames to upright pixels of the first one's scaled size, through one shared reformatter.

    FFmpeg scales to RGB of an odd width by its slowest way; to planes it takes half the time, and below two
    thirds of the size the bits are the same.
    """
    reformatter = VideoReformatter()
    width, height = scaled_size(first.width, first.height, short_side)
    quarter_turns = -clockwise(first) // 90

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
