"""The optical flow of every video of a data set, as a data set of its own with the same labels and splits."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from timelift.data.decode import every_frame
from timelift.data.flow_folder import FlowFacts, is_whole, read_facts, write_flow
from timelift.data.flow_methods import FlowSettings, flow_between
from timelift.data.flow_vectors import quantised
from timelift.data.isolated import Lost, run_isolated
from timelift.data.parallel import cores
from timelift.data.scan import sha256_of
from timelift.data.tree import FLOW_SETTINGS
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
        UsageError: if the videos were not scanned, or `output` was begun with other settings.
        DiskFull: if there is no room.
    """
    if any(video.status == "unscanned" for video in manifest.videos):
        raise UsageError("the videos were not scanned yet; run `timelift scan` first")
    _begin(output, settings)
    rows = [_row(video, name) for video, name in zip(manifest.videos, _names(manifest), strict=True)]
    readable = [index for index, video in enumerate(manifest.videos) if video.frames]
    jobs = [_job(manifest, manifest.videos[i], output / rows[i].path, settings) for i in readable]
    skipped = len(rows) - len(jobs)
    answers = run_isolated(_FLOWED, jobs, workers=workers or cores(), timeout_seconds=_patience_seconds)
    for done, (at, answer) in enumerate(answers, start=skipped + 1):
        rows[readable[at]] = _filled(rows[readable[at]], answer, output)
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
        if not is_whole(target, facts):
            found = fields(Path(job["source"]), settings, min(size))
            write_flow(target, _of_frames(job["frames"], found), facts)
        facts = read_facts(target)
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


def _of_frames(frames: int, fields: Iterator) -> Iterator:
    """The fields, as long as they are of a video of so many frames."""
    count = 1
    for field in fields:
        count += 1
        yield field
    if count != frames:
        raise DataError(
            f"{count} frames decode, the manifest says {frames}: it changed, run `timelift scan` again"
        )


def _begin(output: Path, settings: FlowSettings) -> None:
    """Note the settings, or see that they are those of the call that began here."""
    record, now = output / FLOW_SETTINGS, dataclasses.asdict(settings)
    if not record.is_file():
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
    )


def _reason(video: Video) -> str:
    return f"its video: {video.reason}" if video.reason else ""


def _job(manifest: Manifest, video: Video, target: Path, settings: FlowSettings) -> dict[str, Any]:
    return {
        "source": str(manifest.full_path(video)),
        "target": str(target.absolute()),
        "settings": dataclasses.asdict(settings),
        "sha256": video.sha256,
        "frames": video.frames,
        "width": video.width,
        "height": video.height,
        "fps": video.fps,
        "status": video.status,
        "reason": _reason(video),
        "declared_frames": max(0, video.declared_frames - 1),
    }


def _filled(row: Video, answer: dict[str, Any] | Lost, output: Path) -> Video:
    if isinstance(answer, Lost):
        answer = {"reason": f"flow: {answer.reason}"}
    if "no_room" in answer:
        raise no_room(output)
    if "reason" in answer:
        return dataclasses.replace(row, status="unreadable", width=0, height=0, reason=answer["reason"])
    return dataclasses.replace(row, **answer)


def _patience_seconds(job: dict[str, Any]) -> float:
    size = max(1.0, job["width"] * job["height"] / (320 * 240))
    return 120 + _SECONDS[job["settings"]["method"]] * job["frames"] * size
