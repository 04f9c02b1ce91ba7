"""Every video decoded once, so that what is wrong with the data is known before training, not in it."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from timelift.data.facts import Facts
from timelift.data.isolated import Lost, run_isolated
from timelift.data.parallel import cores
from timelift.data.tree import pictures
from timelift.records.errors import DataError, UsageError
from timelift.records.video import Manifest, Video

Policy = Literal["error", "exclude", "keep-readable"]

_EXAMINED = "timelift.data.scan:examined"
_SHOWN = 3  # bad videos named in an error


def scan(
    manifest: Manifest, *, workers: int | None = None, progress: Callable[[int], None] | None = None
) -> Manifest:
    """The manifest with what decoding every file once tells: frames, size, status, sha256 and the rest.

    Decoders run in processes of their own: a file that crashes or hangs one is unreadable, with the reason.
    `progress` is called with the number of videos done so far. Workers: one a core, unless said.
    """
    jobs = [str(manifest.full_path(video)) for video in manifest.videos]
    videos = list(manifest.videos)
    answers = run_isolated(_EXAMINED, jobs, workers=workers or cores(), timeout_seconds=_patience_seconds)
    for done, (index, answer) in enumerate(answers, start=1):
        videos[index] = _filled(videos[index], answer)
        if progress:
            progress(done)
    return manifest.with_videos(videos)


def usable(manifest: Manifest, policy: Policy) -> tuple[Manifest, tuple[str, ...]]:
    """The videos to train and test on, decided once, and one line for each that is not as it should be.

    error: all must be ok. exclude: only those that are ok. keep-readable: all of which frames decode.

    Raises:
        DataError: under "error", for videos that are not ok; under the others, for a class left without any.
        UsageError: for an unknown policy, or a manifest that was not scanned.
    """
    if policy not in ("error", "exclude", "keep-readable"):
        raise UsageError(f"policy {policy!r} is unknown; take error, exclude or keep-readable")
    if any(video.status == "unscanned" for video in manifest.videos):
        raise UsageError("the videos were not scanned yet; run `timelift scan` first")
    bad = [video for video in manifest.videos if video.status != "ok"]
    if policy == "error" and bad:
        raise DataError(_complaint(bad, len(manifest.videos)))
    dropped = {v.path for v in bad if policy == "exclude" or v.status == "unreadable"}
    kept = manifest.with_videos(v for v in manifest.videos if v.path not in dropped)
    _no_class_lost(manifest, kept)
    notes = tuple(f"{'dropped' if v.path in dropped else 'kept'}: {_line(v)}" for v in bad)
    return kept, notes


def examined(path: str) -> dict[str, Any]:
    """What a worker process answers for one path: Facts as a dictionary, and sha256."""
    from timelift.data.decode import examine  # the decoder is loaded in the worker processes only

    try:
        return {**dataclasses.asdict(examine(Path(path))), "sha256": sha256_of(Path(path))}
    except Exception as error:  # whatever a decoder comes up with: the file is to blame, not the scan
        return _unreadable(f"{type(error).__name__}: {error}")


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, or of a folder's pictures one after another; empty if there is no such file."""
    if not path.exists():
        return ""
    digest = hashlib.sha256()
    for part in pictures(path) if path.is_dir() else [path]:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _filled(video: Video, answer: dict[str, Any] | Lost) -> Video:
    found = _unreadable(f"decoder: {answer.reason}") if isinstance(answer, Lost) else answer
    return dataclasses.replace(video, **{key: value for key, value in found.items() if key != "errors"})


def _unreadable(reason: str) -> dict[str, Any]:
    return {**dataclasses.asdict(Facts(status="unreadable", errors=1, reason=reason)), "sha256": ""}


def _patience_seconds(path: str) -> float:
    """Two minutes, and two seconds a megabyte: an hour of film may take longer than a short clip may hang."""
    try:
        return 120 + 2 * os.path.getsize(path) / 1e6
    except OSError:
        return 120


def _complaint(bad: list[Video], total: int) -> str:
    shown = "; ".join(_line(video) for video in bad[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return (
        f"{len(bad)} of {total} videos are not as they should be: {shown}{more}. "
        "Mend them, or choose the policy exclude or keep-readable"
    )


def _line(video: Video) -> str:
    return f"{video.path} is {video.status} ({video.reason})"


def _no_class_lost(before: Manifest, after: Manifest) -> None:
    """Every class keeps videos in every part (train, test ...) in which it had some."""
    left = {(video.split, name) for video in after.videos for name in after.names_of(video)}
    for video in before.videos:
        lost = [name for name in before.names_of(video) if (video.split, name) not in left]
        if lost:
            part = f" in {video.split}" if video.split else ""
            raise DataError(
                f"class {lost[0]!r} has no usable video left{part}: {_line(video)}. "
                "Mend its videos, or take the class out"
            )
