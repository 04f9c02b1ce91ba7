"""The flow of one video on disk: a folder of flow_x_00000.jpg, flow_y_00000.jpg ... and flow.json.

Field i is the motion from frame i to frame i + 1. flow.json says how it was made; it names the video by its
bytes alone, so that two copies of a video have the same flow.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from timelift.data.facts import Facts, Faults, judge
from timelift.data.flow_methods import FlowSettings
from timelift.data.flow_vectors import resized_flow
from timelift.data.parts import Part, frame_seconds, part_of
from timelift.data.pictures import scaled_size
from timelift.data.tree import FLOW_FACTS
from timelift.records.errors import DataError
from timelift.records.video import Status

ONE_FRAME = "one frame only: flow is the motion between two"


@dataclass(frozen=True)
class FlowFacts:
    """What flow.json says."""

    settings: FlowSettings
    source_sha256: str
    source_width: int  # pixels, after rotation
    source_height: int
    frames: int = 0  # fields: one fewer than the video has frames
    width: int = 0  # of the stored fields
    height: int = 0
    fps: float = 0.0
    status: Status = "ok"  # of the video, as scanned
    reason: str = ""
    declared_frames: int = 0  # fields, if all frames that the video declares had decoded


def write_flow(folder: Path, fields: Iterator[np.ndarray], facts: FlowFacts) -> FlowFacts:
    """Write quantised fields (H, W, 2) uint8, whole or not at all; the facts, with their number and size.

    Raises:
        DataError: if there is no field, or the folder holds something else.
    """
    if folder.exists() and not (folder / FLOW_FACTS).is_file():
        raise DataError(f"{folder} is there and no flow: it stays as it is; give another --output")
    partial = folder.with_name(f".{folder.name}.partial")
    for left in (partial, folder):
        if left.exists():
            shutil.rmtree(left)
    partial.mkdir(parents=True)
    try:
        for index, field in enumerate(fields):
            _write_pair(partial, index, field, facts.settings.jpeg_quality)
            height, width = field.shape[:2]
            facts = dataclasses.replace(facts, frames=index + 1, width=width, height=height)
        if not facts.frames:
            raise DataError(ONE_FRAME)
        text = json.dumps(dataclasses.asdict(facts), indent=2) + "\n"
        (partial / FLOW_FACTS).write_text(text, encoding="utf-8")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return facts


def read_facts(folder: Path) -> FlowFacts:
    """What a flow folder says of itself.

    Raises:
        DataError: if flow.json is missing or damaged.
    """
    try:
        told = json.loads((folder / FLOW_FACTS).read_text(encoding="utf-8"))
        return FlowFacts(**{**told, "settings": FlowSettings(**told["settings"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{folder / FLOW_FACTS} cannot be read ({error}): run `timelift flow` again"
        ) from error


def flow_identity(folder: Path) -> str:
    """Hash of the video's bytes and of the settings: what the flow follows from, whatever part is there.

    Raises:
        DataError: if flow.json is missing or damaged.
    """
    facts = read_facts(folder)
    words = json.dumps([facts.source_sha256, dataclasses.asdict(facts.settings)], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def part_of_flow(whole: Facts, part: Part) -> Facts:
    """The fields between the frames of a part (seconds from, to), by the rate: one fewer than its frames."""
    if part == (0.0, 0.0) or whole.status == "unreadable":
        return whole
    film = dataclasses.replace(whole, frames=whole.frames + 1)
    found = part_of(film, frame_seconds([None] * film.frames, None, film), part)
    if found.frames == 1:
        return dataclasses.replace(found, status="unreadable", frames=0, reason=ONE_FRAME)
    return dataclasses.replace(found, frames=max(0, found.frames - 1))


def flow_frames(folder: Path, indices: Sequence[int] | None, *, short_side: int | None) -> np.ndarray:
    """The fields with these indices, in the order asked for: (T, H, W, 2) uint8; None: all before any damage.

    `short_side` scales the fields, and their vectors with them.

    Raises:
        DataError: if the folder lacks one of them, or it cannot be read.
    """
    facts = read_facts(folder)
    width, height = scaled_size(facts.width, facts.height, short_side)
    if indices is None:
        faults = Faults()
        fields = [resized_flow(field, width, height) for field in _readable(folder, facts, faults)]
        if not fields:
            raise DataError(*faults.words)
        return np.stack(fields)
    if max(indices) >= facts.frames:
        raise DataError(f"{folder}: field {max(indices)} was asked for, it has {facts.frames}")
    read = {index: resized_flow(_field(folder, index, facts), width, height) for index in set(indices)}
    return np.stack([read[index] for index in indices])


def examine_flow(folder: Path) -> Facts:
    """Decode every pair once; the fields before the first that cannot be read are what the folder holds."""
    facts, faults = read_facts(folder), Faults()
    frames = sum(1 for _ in _readable(folder, facts, faults))
    if not frames:
        return Facts(status="unreadable", errors=1, reason=(faults.words or ["it holds no field"])[0])
    status, reason = judge(frames, facts.frames, "", faults) if faults.words else (facts.status, facts.reason)
    return Facts(
        status=status,
        frames=frames,
        declared_frames=max(facts.frames, facts.declared_frames),
        width=facts.width,
        height=facts.height,
        fps=facts.fps,
        errors=len(faults.words),
        reason=reason,
    )


def is_whole(folder: Path, facts: FlowFacts, fields: int) -> bool:
    """Whether the folder holds so many fields of this video with these settings, and no empty file."""
    try:
        there = read_facts(folder)
    except DataError:
        return False
    same = (there.settings, there.source_sha256) == (facts.settings, facts.source_sha256)
    names = [name for index in range(there.frames) for name in _names(index)]
    return (
        same
        and there.frames >= fields
        and all((folder / name).is_file() and (folder / name).stat().st_size for name in names)
    )


def _readable(folder: Path, facts: FlowFacts, faults: Faults) -> Iterator[np.ndarray]:
    """The fields before the first that cannot be read, which is noted in `faults`."""
    try:
        for index in range(facts.frames):
            yield _field(folder, index, facts)
    except DataError as error:
        faults.add(str(error))


def _names(index: int) -> tuple[str, str]:
    return f"flow_x_{index:05d}.jpg", f"flow_y_{index:05d}.jpg"


def _write_pair(folder: Path, index: int, field: np.ndarray, quality: int) -> None:
    for name, plane in zip(_names(index), np.moveaxis(field, 2, 0), strict=True):
        fits, data = cv2.imencode(".jpg", np.ascontiguousarray(plane), [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not fits:
            raise DataError(f"a field of {field.shape[1]} x {field.shape[0]} pixels does not go into a JPEG")
        (folder / name).write_bytes(data.tobytes())


def _field(folder: Path, index: int, facts: FlowFacts) -> np.ndarray:
    """(H, W, 2) uint8."""
    planes = [_plane(folder / name) for name in _names(index)]
    if any(plane.shape != (facts.height, facts.width) for plane in planes):
        raise DataError(f"{folder}: field {index} is not of {facts.width} x {facts.height} pixels")
    return np.stack(planes, axis=2)


def _plane(path: Path) -> np.ndarray:
    data = path.read_bytes() if path.is_file() else b""
    plane = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if plane is None:
        raise DataError(f"{path} is no picture that can be read: run `timelift flow` again")
    return plane
