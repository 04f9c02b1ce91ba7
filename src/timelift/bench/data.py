"""Clips per CPU-second of our decoding, plain PyAV calls and OpenCV, and whose frames are the right ones."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from timelift.bench.decoders import plain_opencv, plain_pyav, seeking_opencv, sequential
from timelift.data.decode import decode_frames
from timelift.data.examine import examine
from timelift.data.pictures import scaled_size
from timelift.data.sampling import clip_indices, clip_span, middle_start
from timelift.data.tree import walk
from timelift.records import DataError, UsageError
from timelift.timing import Contest, Outcome, measure

TURNS = 5
FRAMES_PER_CLIP = 16
SHORT_SIDE = 128

Way = Callable[[Path, Sequence[int], tuple[int, int] | None], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """The frames wanted of one video, and the size (width, height) in which they are wanted."""

    path: Path
    indices: tuple[int, ...]
    size: tuple[int, int] | None  # None: as stored


def ours(path: Path, indices: Sequence[int], size: tuple[int, int] | None) -> np.ndarray:
    """(T, H, W, 3) as training gets it, without a cache."""
    return decode_frames(path, indices, short_side=None if size is None else min(size))


WAYS: dict[str, Way] = {
    "plain PyAV": plain_pyav,
    "timelift": ours,
    "OpenCV": plain_opencv,
    "OpenCV, seeking": seeking_opencv,
}


def videos_of(source: Path | None) -> list[Path]:
    """The video files below a folder; without one, UCF101's originals below $TIMELIFT_SHARED.

    Raises:
        UsageError: if no folder is known. DataError: if it holds no videos.
    """
    if source is None and "TIMELIFT_SHARED" not in os.environ:
        raise UsageError("bench data needs videos: give --data FOLDER")
    folder = source or Path(os.environ["TIMELIFT_SHARED"], "data", "ucf101-original")
    found = [path for path in walk(folder).videos if path.is_file()] if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder} holds no video files: give --data another folder")
    return found


def clips_of(paths: Sequence[Path], short_side: int | None, frames_per_clip: int | None) -> list[Clip]:
    """The middle clip of every video, or (None) every frame of it."""
    clips = []
    for path in paths:
        facts = examine(path)
        if facts.status == "unreadable" or facts.rotation:
            continue  # OpenCV and plain PyAV calls do not turn frames alike
        start = middle_start(facts.frames, clip_span(frames_per_clip or facts.frames, 1))
        indices = clip_indices(facts.frames, frames_per_clip or facts.frames, 1, start)
        size = None if short_side is None else scaled_size(facts.width, facts.height, short_side)
        clips.append(Clip(path, tuple(indices), size))
    return clips


def timed(turns: int, source: Path | None) -> Iterator[Outcome]:
    """Process CPU time, all threads counted, of every way; the first is plain PyAV calls."""
    paths = videos_of(source)
    for words, short_side, length in (
        (f"the middle {FRAMES_PER_CLIP} frames, size as stored", None, FRAMES_PER_CLIP),
        (f"the middle {FRAMES_PER_CLIP} frames, short side {SHORT_SIDE}", SHORT_SIDE, FRAMES_PER_CLIP),
        (f"every frame, short side {SHORT_SIDE}", SHORT_SIDE, None),
    ):
        clips = clips_of(paths, short_side, length)
        ways = {name: partial(_all, way, clips) for name, way in WAYS.items()}
        yield measure(
            Contest(f"{len(clips)} videos, {words}", ways), turns, least_seconds=0, clock=time.process_time
        )


def rates(outcome: Outcome) -> str:
    """Clips per CPU-second of every way, in one line; the title begins with the number of clips."""
    clips = int(outcome.title.split()[0])
    shown = ", ".join(f"{way.name} {clips / way.median:.0f}" for way in outcome.ways)
    return f"clips per CPU-second: {shown} ({outcome.title})"


def exactness(source: Path | None) -> Iterator[str]:
    """One line a way: how many clips are bit by bit the frames of a sequential decode, and which are not.

    Frames as stored: scaling is each one's own.
    """
    clips = clips_of(videos_of(source), None, FRAMES_PER_CLIP)
    judged: dict[str, list[tuple[Path, str]]] = {name: [] for name in WAYS}
    for clip in clips:
        truth = np.stack(list(sequential(clip.path)))
        for name, way in WAYS.items():
            judged[name].append((clip.path, verdict(way(clip.path, clip.indices, None), truth, clip.indices)))
    for name, verdicts in judged.items():
        exact = sum(words == "" for _, words in verdicts)
        others = "; ".join(f"{path.name}: {words}" for path, words in verdicts if words)
        yield f"{name}: {exact} of {len(clips)} clips exact" + (f"; {others}" if others else "")


def verdict(frames: np.ndarray, truth: np.ndarray, indices: Sequence[int]) -> str:
    """Empty if these are the frames with these indices of the truth; else what they are."""
    if frames.shape == truth[list(indices)].shape and (frames == truth[list(indices)]).all():
        return ""
    if len(frames) < len(indices):
        return f"{len(frames)} of {len(indices)} frames"
    if frames.shape[1:] != truth.shape[1:]:
        return f"frames of {frames.shape[2]}x{frames.shape[1]}"
    nearest = [_nearest(frame, truth) for frame in frames]
    if nearest == list(indices):
        most = np.abs(frames.astype(np.int16) - truth[list(indices)]).max()
        return f"the right frames, pixels off by up to {most}"
    return f"wrong frames: {nearest[0]} for {indices[0]}, {nearest[-1]} for {indices[-1]}"


def _nearest(frame: np.ndarray, truth: np.ndarray) -> int:
    """The index of the frame that differs least, looked at in every eighth row and column."""
    rough = truth[:, ::8, ::8].astype(np.int16)
    return int(np.abs(rough - frame[::8, ::8]).mean(axis=(1, 2, 3)).argmin())


def _all(way: Way, clips: Sequence[Clip]) -> None:
    for clip in clips:
        way(clip.path, clip.indices, clip.size)
