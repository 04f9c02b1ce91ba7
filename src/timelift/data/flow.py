"""The optical flow of every video of a data set, as a data set of its own with the same labels and splits."""

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from timelift.data.decode import every_frame
from timelift.data.flow_folder import ONE_FRAME, FlowFacts, is_whole, read_facts, write_flow
from timelift.data.flow_methods import FlowSettings, flow_between
from timelift.data.flow_vectors import quantised
from timelift.data.isolated import Lost, run_isolated
from timelift.data.parallel import cores
from timelift.data.scan import sha256_of
from timelift.data.tree import FLOW_SETTINGS
from timelift.records.alone import alone_in
from timelift.records.errors import DataError, UsageError
from timelift.records.video import Manifest, Video, read_manifest, write_manifest
from timelift.records.whole import has_no_room, no_room, write_text_whole

_FLOWED = "timelift.data.flow:flowed"
_SECONDS = {"dis": 1.0, "tvl1": 60.0}  # of patience for a frame of 320 x 240 pixels: far beyond its need


def make_flow(
    manifest: Manifest,
    output: Path,
    settings: FlowSettings,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write the flow of all scanned videos below `output`, and its manifest: status and reason as the scan's.

    What an earlier call with the same settings left there is kept, and the rest gets the same bytes. Decoders
    run in processes of their own. Of an unreadable video, and of one frame, there is none: its row says so.

    Raises:
        UsageError: if the videos were not scanned, `output` was begun with other settings or holds other
            files, or another process is at work there.
        DataError: if the flow cannot be written. DiskFull: if there is no room.
    """
    if any(video.status == "unscanned" for video in manifest.videos):
        raise UsageError("the videos were not scanned yet; run `timelift scan` first")
    begin_flow(output, settings)
    with alone_in(output / FLOW_SETTINGS):
        return _made(manifest, output, settings, workers, progress)


def _made(
    manifest: Manifest,
    output: Path,
    settings: FlowSettings,
    workers: int | None,
    progress: Callable[[int], None] | None,
) -> Manifest:
    videos = manifest.videos
    rows = [_row(video, name) for video, name in zip(videos, _names(manifest), strict=True)]
    places = defaultdict(list)  # of every file: its row, or its parts'
    for at, video in enumerate(videos):
        if video.frames:
            places[rows[at].path].append(at)
    of_file = list(places.values())
    jobs = [_job(manifest, [videos[at] for at in of], output / rows[of[0]].path, settings) for of in of_file]
    done = len(rows) - sum(map(len, of_file))
    answers = run_isolated(_FLOWED, jobs, workers=workers or cores(), timeout_seconds=_patience_seconds)
    for job, answer in answers:
        for at in of_file[job]:
            rows[at] = _filled(rows[at], videos[at], answer, output)
        done += len(of_file[job])
        if progress:
            progress(done)
    flow = Manifest(root=str(output.resolve()), classes=manifest.classes, videos=tuple(rows))
    write_manifest(flow, output / "manifest.csv")
    return read_manifest(output / "manifest.csv")


def flowed(job: dict[str, Any]) -> dict[str, Any]:
    """What a worker process answers for one video: its flow's facts and sha256, or the reason for none."""
    import cv2

    cv2.setNumThreads(1)  # the worker's own: a process a core
    target, settings = Path(job["target"]), FlowSettings(**job["settings"])
    size = job["width"], job["height"]
    of_video = {name: job[name] for name in ("fps", "status", "reason", "declared_frames")}
    facts = FlowFacts(settings, job["sha256"], *size, **of_video)
    try:
        if not is_whole(target, facts, job["frames"] - 1):
            found = fields(Path(job["source"]), settings, min(size))
            write_flow(target, _of_frames(job["frames"], found, job["whole"]), facts)
        facts = read_facts(target)
    except OSError as error:  # of writing: what cannot be read is a DataError
        return {"no_room": True} if has_no_room(error) else {"failed": str(error)}
    except Exception as error:  # whatever a decoder comes up with: the file is to blame, not the rest
        return {"no_room": True} if has_no_room(error) else {"reason": str(error) or type(error).__name__}
    return {
        "frames": facts.frames,
        "width": facts.width,
        "height": facts.height,
        "fps": facts.fps,
        "declared_frames": max(facts.frames, facts.declared_frames),
        "sha256": sha256_of(target),
    }


def fields(source: Path, settings: FlowSettings, own_short_side: int) -> Iterator:
    """The quantised flow between each frame and the next, (H, W, 2) uint8; two frames are held at a time."""
    between = flow_between(settings.method)
    short_side = min(settings.short_side, own_short_side)
    for first, second in pairwise(every_frame(source, short_side=short_side, channels=1)):
        yield quantised(between(first[:, :, 0], second[:, :, 0]), settings.bound)


def _of_frames(frames: int, fields: Iterator, whole: bool) -> Iterator:
    """The fields of a video of so many frames, or up to so many where only parts of it are wanted."""
    count = 1
    for field in fields if whole else islice(fields, frames - 1):
        count += 1
        yield field
    if count != frames:
        raise DataError(
            f"{count} frames decode, the manifest says {frames}: it changed, run `timelift scan` again"
        )


def begin_flow(output: Path, settings: FlowSettings) -> None:
    """Note the settings, or see that they are those of the call that began here.

    Raises:
        UsageError: for other settings, or a folder that holds other files.
    """
    record, now = output / FLOW_SETTINGS, dataclasses.asdict(settings)
    if not record.is_file():
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UsageError(f"{output} holds other files: give an empty or a new folder as --output")
        output.mkdir(parents=True, exist_ok=True)
        write_text_whole(record, json.dumps(now, indent=2) + "\n")
        return
    then = json.loads(record.read_text(encoding="utf-8"))
    other = [
        f"{name} {then.get(name)} (now {value})" for name, value in now.items() if then.get(name) != value
    ]
    if other:
        raise UsageError(f"{output} was begun with {', '.join(other)}: give another --output, or delete it")


def _names(manifest: Manifest) -> list[str]:
    """A folder for each video below the output: its place below the folder that holds them all."""
    paths = [os.path.abspath(manifest.full_path(video)) for video in manifest.videos]
    above = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    return [Path(os.path.relpath(path, above)).as_posix() for path in paths]


def _row(video: Video, name: str) -> Video:
    """A video's row before its flow is there: its label, split and group, and what the scan said of it."""
    return dataclasses.replace(
        video,
        path=name,
        frames=0,
        declared_frames=max(0, video.declared_frames - 1),
        rotation=0,
        sha256="",
        reason=_reason(video),
        frame_hashes="",
    )


def _reason(video: Video) -> str:
    return f"its video: {video.reason}" if video.reason else ""


def _job(manifest: Manifest, videos: list[Video], target: Path, settings: FlowSettings) -> dict[str, Any]:
    """What a worker process is told of a file, of which these are all rows."""
    known = next((video for video in videos if not video.is_part), None)
    first = videos[0]
    return {
        "source": str(manifest.full_path(first)),
        "target": str(target.absolute()),
        "settings": dataclasses.asdict(settings),
        "sha256": first.sha256,
        "whole": known is not None,
        "frames": max(video.first_frame + video.frames for video in videos),
        "width": first.width,
        "height": first.height,
        "fps": first.fps,
        "status": known.status if known else "ok",
        "reason": _reason(known) if known else "",
        "declared_frames": max(0, known.declared_frames - 1) if known else 0,
    }


def _filled(row: Video, video: Video, answer: dict[str, Any] | Lost, output: Path) -> Video:
    """The row with what its file's worker answered; of a part, the fields between its own frames."""
    if isinstance(answer, Lost):
        answer = {"reason": f"flow: {answer.reason}"}
    if "no_room" in answer:
        raise no_room(output)
    if "failed" in answer:
        raise DataError(f"the flow of {video.name} cannot be written: {answer['failed']}")
    if video.is_part and video.frames == 1:
        answer = {"reason": ONE_FRAME}
    if "reason" in answer:
        return dataclasses.replace(row, status="unreadable", width=0, height=0, reason=answer["reason"])
    if video.is_part:
        answer = {**answer, "frames": video.frames - 1, "declared_frames": 0}
    return dataclasses.replace(row, **answer)


def _patience_seconds(job: dict[str, Any]) -> float:
    size = max(1.0, job["width"] * job["height"] / (320 * 240))
    return 120 + _SECONDS[job["settings"]["method"]] * job["frames"] * size
