"""What a video holds: decoded once from end to end, and what is wrong with it said."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from timelift.data.container import clockwise, decoded_frames, open_container, video_stream, why_unreadable
from timelift.data.facts import Facts, Faults, increasing, judge
from timelift.data.flow_folder import examine_flow, part_of_flow
from timelift.data.looks import THUMBNAIL, Looks
from timelift.data.parts import Part, frame_seconds, part_of
from timelift.data.pictures import examine_folder
from timelift.data.tree import is_flow_folder, is_frame_folder
from timelift.records.errors import DataError


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
        return [Facts(status="unreadable", errors=1, reason=why_unreadable(path, error))] * len(parts)
    return [part_of(whole, times, part) for part in parts]


def _examine_file(path: Path) -> tuple[Facts, list[float] | None]:
    """What the file holds, and the seconds at which its frames stand (None: it does not say)."""
    if path.is_file() and path.stat().st_size == 0:
        return Facts(status="unreadable", errors=1, reason="the file is empty (0 bytes)"), None
    faults = Faults()
    times: list[int | None] = []
    seen = Looks()
    reformatter = VideoReformatter()
    first: VideoFrame | None = None
    with closing(open_container(path)) as container:
        stream = video_stream(container, path)
        for frame in decoded_frames(container, stream, faults):
            first = first or frame
            times.append(frame.pts)
            seen.add(partial(_thumbnail, reformatter, frame))
        missing = _missing_end(container, stream, times)
        # read while the container is open: behind its end these are whatever lies in freed memory
        declared, rate, time_base = stream.frames, stream.average_rate, stream.time_base
    if first is None:
        reason = faults.words[0] if faults.words else "it holds no video frames"
        return Facts("unreadable", errors=len(faults.words), reason=f"no frame decodes: {reason}"), None
    turn = clockwise(first)
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
