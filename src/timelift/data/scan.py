"""Every video decoded once, so that what is wrong with the data is known before training, not in it."""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from timelift.data.facts import Facts
from timelift.data.flow_folder import flow_identity
from timelift.data.isolated import Lost, run_isolated
from timelift.data.parallel import cores
from timelift.data.scan_journal import Journal
from timelift.data.tar_member import exists, open_file, size_of
from timelift.data.tree import is_flow_folder, pictures
from timelift.records.errors import DataError, UsageError
from timelift.records.video import Manifest, Video

Policy = Literal["error", "exclude", "keep-readable"]

_EXAMINED = "timelift.data.scan:examined"
_SHOWN = 20  # bad videos named in an error


def scan(
    manifest: Manifest,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    journal: Journal | None = None,
) -> Manifest:
    """The manifest with what decoding every file once tells: frames, size, status, sha256 and the rest.

    Decoders run in processes of their own: a file that crashes or hangs one is unreadable, with the reason.
    `progress` is called with the number of videos done so far. Workers: one a core, unless said. journal:
    knows what an earlier scan found, and is told what this one finds (`scan_journal.journal_of`).
    """
    journal = journal or Journal()
    videos = list(manifest.videos)
    places = defaultdict(list)  # of every file: its video, or its parts
    for index, video in enumerate(videos):
        places[str(manifest.full_path(video))].append(index)
    parts = {path: [[videos[i].start, videos[i].end] for i in of] for path, of in places.items()}
    done = 0

    def filled(path: str, answer: dict[str, Any]) -> None:
        nonlocal done
        for index, facts in zip(places[path], _facts(answer, len(places[path])), strict=True):
            videos[index] = dataclasses.replace(videos[index], **facts)
        done += len(places[path])
        if progress:
            progress(done)

    jobs: list[tuple[str, list]] = []
    for path in places:
        if (known := journal.known(path, parts[path])) is not None:
            filled(path, known)
        else:
            jobs.append((path, parts[path]))
    answers = run_isolated(_EXAMINED, jobs, workers=workers or cores(), timeout_seconds=_patience_seconds)
    for index, answer in answers:
        told = {"lost": answer.reason} if isinstance(answer, Lost) else answer
        path, asked = jobs[index]
        journal.note(path, asked, told)
        filled(path, told)
    return manifest.with_videos(videos)


def hashed(manifest: Manifest, progress: Callable[[int], None] | None = None) -> Manifest:
    """The manifest with the sha256 of every file that has none yet: read, not decoded."""
    known: dict[str, str] = {}
    videos = []
    for done, video in enumerate(manifest.videos, start=1):
        if not video.sha256 and video.path not in known:
            known[video.path] = sha256_of(manifest.full_path(video))
        videos.append(dataclasses.replace(video, sha256=video.sha256 or known[video.path]))
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
    dropped = {v.name for v in bad if policy == "exclude" or v.status == "unreadable"}
    kept = manifest.with_videos(v for v in manifest.videos if v.name not in dropped)
    _no_class_lost(manifest, kept)
    notes = tuple(f"{'dropped' if v.name in dropped else 'kept'}: {_line(v)}" for v in bad)
    return kept, notes


def examined(job: tuple[str, list[list[float]]]) -> dict[str, Any]:
    """What a worker process answers for a file and parts of it: Facts of each as dictionaries, and sha256."""
    from timelift.data.examine import examine_parts  # the decoder is loaded in the worker processes only

    path = Path(job[0])
    parts = [(start, end) for start, end in job[1]]
    try:
        found = examine_parts(path, parts)
        return {"parts": [dataclasses.asdict(facts) for facts in found], "sha256": sha256_of(path)}
    except Exception as error:  # whatever a decoder comes up with: the file is to blame, not the scan
        facts = Facts(status="unreadable", errors=1, reason=f"{type(error).__name__}: {error}")
        return {"parts": [dataclasses.asdict(facts)] * len(parts), "sha256": ""}


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, or of a folder's pictures one after another; empty if there is no such file.

    Of a folder of optical flow: of its video's bytes and how it was made, so that copies have the same.
    """
    if not exists(path):
        return ""
    if is_flow_folder(path):
        return flow_identity(path)
    digest = hashlib.sha256()
    for part in pictures(path) if path.is_dir() else [path]:
        with open_file(part) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _facts(answer: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """The fields of a file's videos that an answer fills."""
    if "lost" in answer:
        facts = Facts(status="unreadable", errors=1, reason=f"decoder: {answer['lost']}")
        answer = {"parts": [dataclasses.asdict(facts)] * parts, "sha256": ""}
    return [
        {**{key: value for key, value in of.items() if key != "errors"}, "sha256": answer["sha256"]}
        for of in answer["parts"]
    ]


def _patience_seconds(job: tuple[str, list]) -> float:
    """Two minutes, and two seconds a megabyte: an hour of film may take longer than a short clip may hang."""
    try:
        return 120 + 2 * size_of(Path(job[0])) / 1e6
    except (OSError, DataError):
        return 120


def _complaint(bad: list[Video], total: int) -> str:
    shown = "; ".join(_line(video) for video in bad[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return (
        f"{len(bad)} of {total} videos are not as they should be: {shown}{more}. "
        "Mend them, or choose the policy exclude or keep-readable"
    )


def _line(video: Video) -> str:
    return f"{video.name} is {video.status} ({video.reason})"


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
