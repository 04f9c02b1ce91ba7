"""Video-MNIST written as a data set: digits that move, one motion a class (Ras et al., 2019).

Videos are `split/class/NNNNN.mkv`, lossless, NNNNN counting the split's digits in their order; manifest.csv
beside them says everything that a scan would.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.data.digit_motions import FRAMES, SIDE, Draws, draw_motion, make_video, render
from timelift.data.digits import Digits, carried_digits, mnist_digits, read_idx
from timelift.data.encode import encode_grey
from timelift.data.parallel import Progress, in_processes
from timelift.records import Manifest, UsageError, Video
from timelift.records.video import read_manifest, write_manifest

__all__ = ["Digits", "carried_digits", "make_video", "mnist_digits", "read_idx", "write_dataset"]

FPS = 30
_SEEDS = {"train": 6, "val": 7, "test": 8}  # the published ones
_PLAN = "plan.txt"


def write_dataset(
    folder: Path,
    digits: Mapping[str, Digits],
    *,
    limit: Mapping[str, int] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Manifest:
    """The data set in `folder`, whole or not at all, of the first `limit[split]` digits of each split.

    Given MNIST's digits, its videos are the published ones. A call that was killed is taken up where it
    stopped, from `<folder>.partial`.

    Raises:
        UsageError: if the folder is there and not empty, or a split is not train, val or test.
    """
    folder = Path(os.path.abspath(folder))
    _check_free(folder)
    jobs = [job for split, found in _limited(digits, limit).items() for job in _jobs(split, found)]
    partial = folder.with_name(folder.name + ".partial")
    _resume_or_start(partial, jobs)
    for parent in sorted({partial / job.path.parent for job in jobs}):
        parent.mkdir(parents=True, exist_ok=True)
    hashes = in_processes(_write, [(partial, job) for job in jobs], workers=workers, progress=progress)
    videos = tuple(_video(job, sha256) for job, sha256 in zip(jobs, hashes, strict=True))
    write_manifest(
        Manifest(str(partial), tuple(str(label) for label in range(10)), videos), partial / "manifest.csv"
    )
    (partial / _PLAN).unlink()
    os.replace(partial, folder)
    return read_manifest(folder / "manifest.csv")


@dataclass(frozen=True, eq=False)
class _Job:
    split: str
    index: int
    image: np.ndarray
    label: int
    draws: Draws

    @property
    def path(self) -> Path:
        return Path(self.split) / str(self.label) / f"{self.index:05d}.mkv"


def _jobs(split: str, digits: Digits) -> Iterator[_Job]:
    """Drawn one after the other in the digits' order, from the split's own seed, as published."""
    rng = np.random.RandomState(_SEEDS[split])
    for index, (image, label) in enumerate(zip(digits.images, digits.labels.tolist(), strict=True)):
        yield _Job(split, index, image, label, draw_motion(label, rng))


def _write(job_in_folder: tuple[Path, _Job]) -> str:
    """Write the job's video, if it is not there from an earlier call: its sha256."""
    folder, job = job_in_folder
    target = folder / job.path
    if not target.exists():
        data = encode_grey(render(job.image, job.label, job.draws), FPS)
        unfinished = target.with_suffix(".partial")
        unfinished.write_bytes(data)
        os.replace(unfinished, target)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def _video(job: _Job, sha256: str) -> Video:
    return Video(
        path=str(job.path),
        label=str(job.label),
        split=job.split,
        group=f"{job.split}-{job.index:05d}",
        status="ok",
        frames=FRAMES,
        width=SIDE,
        height=SIDE,
        fps=float(FPS),
        sha256=sha256,
    )


def _limited(digits: Mapping[str, Digits], limit: Mapping[str, int] | None) -> dict[str, Digits]:
    limit = limit or {}
    unknown = sorted((set(digits) | set(limit)) - set(_SEEDS))
    if unknown:
        raise UsageError(f"Video-MNIST has the splits {', '.join(_SEEDS)}, not {', '.join(unknown)}")
    for split, count in limit.items():
        if count < 0:
            raise UsageError(f"a limit of {count} videos for {split}: wanted 0 or more")
    return {split: found.first(limit.get(split, len(found.labels))) for split, found in digits.items()}


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already: name a new folder, or delete it first")


def _resume_or_start(partial: Path, jobs: list[_Job]) -> None:
    """Keep what an earlier call left if it was about to write the same videos; else clear the place."""
    plan = hashlib.sha256()
    for job in jobs:
        plan.update(repr((str(job.path), job.draws)).encode() + job.image.tobytes())
    recorded = partial / _PLAN
    if recorded.exists() and recorded.read_text() == plan.hexdigest():
        return
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    recorded.write_text(plan.hexdigest())
