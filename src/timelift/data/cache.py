"""Decoded videos kept on disk as uint8 arrays, so that each is decoded once and not once an epoch.

One .npy a video (with `clip.cache = "jpeg"` its frames as JPEG pictures), named after the file's own bytes
(sha256), the short side and the channels: studies share them, and moved or renamed videos are found again.
Files appear whole or not at all: a build that was killed is taken up where it stopped, and several processes
may build at once. A checksum (CRC-32) lies beside each (`cache_check` compares them).
"""

import hashlib
import os
import random
import shutil
import time
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from timelift.data import jpeg_frames
from timelift.data.decode import decode_frames, every_frame
from timelift.data.frames import DecodedOnDemand, FrameSource
from timelift.data.parallel import Progress, in_processes
from timelift.data.pictures import scaled_size
from timelift.records import ClipFormat, DataError, Manifest, Video
from timelift.records.whole import whole

GIB = 2**30

LAYOUT = "frames-1"  # another name when decoding changes what a frame is
_HEADER_BYTES = 128  # of a .npy file
_STALE_SECONDS = 3600  # a partial file this old has lost its writer
_SPARE_BYTES = GIB // 4  # left free on the disk


@dataclass(frozen=True)
class CachedFrames:
    """Frames read from the cache; files are opened for the moment of reading only."""

    folder: Path
    clip_format: ClipFormat

    def frames(self, video: Video, indices: list[int]) -> np.ndarray:
        """(T, H, W, C) uint8.

        Raises:
            DataError: if the video is not in the cache, its file there is damaged, or lacks a frame.
        """
        if indices and max(indices) >= video.frames:
            raise DataError(f"frame {max(indices)} of {video.path} was asked for: it has {video.frames}")
        path = cache_path(self.folder, video, self.clip_format)
        try:
            if self.clip_format.cache == "jpeg":
                return jpeg_frames.unpacked(path, indices, self.clip_format.channels)
            return self._pixels(path, video, indices)
        except FileNotFoundError as error:
            raise DataError(
                f"{video.path} is not in the cache {self.folder}: was it cleared? start again"
            ) from error

    def _pixels(self, path: Path, video: Video, indices: list[int]) -> np.ndarray:
        width, height = scaled_size(video.width, video.height, self.clip_format.short_side)
        wanted = np.empty((len(indices), height, width, self.clip_format.channels), np.uint8)
        with path.open("rb", buffering=0) as file:
            whole = os.fstat(file.fileno()).st_size == _video_bytes(video, self.clip_format)
            for first, last in _runs(indices) if whole else ():
                start = _HEADER_BYTES + indices[first] * wanted[0].nbytes
                os.preadv(file.fileno(), [wanted[first:last].data], start)
        if not whole:
            raise DataError(f"{path}, the cached {video.path}, is damaged: delete it, start again")
        return wanted


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """Where indices follow each other: 3, 4, 5, 9, 9 -> (0, 3), (3, 4), (4, 5), each read at once."""
    starts = [i for i, index in enumerate(indices) if i == 0 or index != indices[i - 1] + 1]
    return list(zip(starts, [*starts[1:], len(indices)], strict=True)) if starts else []


def default_folder() -> Path:
    """$TIMELIFT_CACHE, or ~/.cache/timelift."""
    return Path(os.environ.get("TIMELIFT_CACHE") or Path.home() / ".cache" / "timelift")


def cache_path(folder: Path, video: Video, clip_format: ClipFormat) -> Path:
    """Where a video's frames lie in the cache.

    Raises:
        DataError: if the video was not scanned, so that its bytes have no name.
    """
    if not video.sha256:
        raise DataError(f"{video.path} has no sha256: run `timelift scan` first")
    words = f"{video.sha256} {clip_format.short_side} {clip_format.channels}"
    if video.is_part:
        words += f" {video.first_frame} {video.frames}"
    if clip_format.cache == "jpeg":
        return _path(folder, f"{words} jpeg {jpeg_frames.QUALITY}", "jpegs")
    return _path(folder, words, "npy")


@lru_cache(maxsize=100_000)  # asked for by every clip
def _path(folder: Path, words: str, ending: str) -> Path:
    key = hashlib.sha256(words.encode()).hexdigest()
    return Path(folder, LAYOUT, key[:2], f"{key}.{ending}")


def cache_size_bytes(manifest: Manifest, clip_format: ClipFormat) -> int:
    """What all decoded frames of the manifest take on disk; for JPEG an estimate, rather too high."""
    return sum(_video_bytes(video, clip_format) for video in manifest.videos)


def open_frames(
    manifest: Manifest,
    clip_format: ClipFormat,
    *,
    cache_limit_bytes: int = 8 * GIB,
    folder: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[FrameSource, str]:
    """The cache, built where it is missing, if it fits the limit and the disk; else decoding on demand.

    The sentence says which of the two, and why.

    Raises:
        DataError: if a video cannot be decoded.
    """
    folder = default_folder() if folder is None else Path(folder)
    size = cache_size_bytes(manifest, clip_format)
    on_demand = DecodedOnDemand(manifest, clip_format)
    if size > cache_limit_bytes:
        limit = "is off" if cache_limit_bytes == 0 else f"may take {_gib(cache_limit_bytes)}"
        return on_demand, f"decoding each clip when it is needed: the cache {limit}, needs {_gib(size)}"
    missing = missing_videos(manifest, clip_format, folder)
    try:
        _check_disk(missing, clip_format, folder)
    except DataError as error:
        return on_demand, f"decoding each clip when it is needed: {error}"
    cached = build_cache(manifest, clip_format, folder, workers=workers, progress=progress)
    loss = f", JPEG of quality {jpeg_frames.QUALITY}" if clip_format.cache == "jpeg" else ""
    done = f"{len(missing)} of {len(manifest.videos)} videos decoded now" if missing else "nothing to decode"
    return (
        cached,
        f"frames from the cache {folder}: {_gib(size)} at {clip_format.short_side} px{loss}, {done}",
    )


def build_cache(
    manifest: Manifest,
    clip_format: ClipFormat,
    folder: Path | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CachedFrames:
    """Decode what is not in the cache yet, in `workers` processes (None: one a core).

    Raises:
        DataError: if the disk is too full, or a video cannot be decoded or changed since the scan.
    """
    folder = default_folder() if folder is None else Path(folder)
    missing = missing_videos(manifest, clip_format, folder)
    _check_disk(missing, clip_format, folder)
    _remove_stale(folder)
    # each builder in its own order, so that two at once do not decode the same videos side by side
    random.Random(os.getpid()).shuffle(missing)
    films: dict[Path, list[Video]] = {}  # a file -> its row, or its parts
    for video in missing:
        films.setdefault(manifest.full_path(video), []).append(video)
    jobs = [_Job(path, tuple(videos), clip_format, folder) for path, videos in films.items()]
    in_processes(_decode, jobs, workers=workers, progress=progress)
    return CachedFrames(folder, clip_format)


def missing_videos(manifest: Manifest, clip_format: ClipFormat, folder: Path) -> list[Video]:
    """The videos that the cache does not hold; of several with the same bytes, the first."""
    by_path = {cache_path(folder, video, clip_format): video for video in reversed(manifest.videos)}
    return [video for path, video in reversed(by_path.items()) if not path.exists()]


def clear_cache(folder: Path | None = None) -> int:
    """Delete every cached frame, and nothing else that may lie in the folder: the bytes that this freed."""
    folder = default_folder() if folder is None else Path(folder)
    ours = folder / LAYOUT
    freed = sum(path.stat().st_size for path in ours.glob("??/*"))
    if ours.exists():
        shutil.rmtree(ours)
    return freed


def checksum(path: Path) -> str:
    """CRC-32 of a file, in hexadecimal."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            found = zlib.crc32(block, found)
    return f"{found:08x}"


def checksum_path(path: Path) -> Path:
    """Where the checksum of a cached video lies."""
    return path.with_suffix(".crc32")


@dataclass(frozen=True)
class _Job:
    source: Path
    videos: tuple[Video, ...]  # of the file: its row, or its parts
    clip_format: ClipFormat
    folder: Path


def _decode(job: _Job) -> None:
    """Store what is missing of a file, which is decoded once."""
    clip_format = job.clip_format
    left = [v for v in job.videos if not cache_path(job.folder, v, clip_format).exists()]  # none: was faster
    short_side, channels = clip_format.short_side, clip_format.channels
    for video in [video for video in left if not video.is_part]:
        frames = decode_frames(job.source, None, short_side=short_side, channels=channels)
        if len(frames) != video.frames:
            raise _changed(job.source, len(frames), video.frames)
        _store(frames, cache_path(job.folder, video, clip_format), clip_format)
    parts = [video for video in left if video.is_part]
    if not parts:
        return
    pixels = every_frame(job.source, short_side=short_side, channels=channels)
    count = -1
    under_way: dict[str, np.ndarray] = {}
    for count, frame in enumerate(pixels):
        for video in [video for video in parts if video.first_frame <= count]:
            if video.name not in under_way:
                under_way[video.name] = np.empty((video.frames, *frame.shape), np.uint8)
            under_way[video.name][count - video.first_frame] = frame
            if count + 1 == video.first_frame + video.frames:
                _store(under_way.pop(video.name), cache_path(job.folder, video, clip_format), clip_format)
                parts.remove(video)
        if not parts:
            return
    raise _changed(job.source, count + 1, max(video.first_frame + video.frames for video in parts))


def _changed(source: Path, came: int, wanted: int) -> DataError:
    return DataError(
        f"{source} has {came} frames, the manifest says {wanted}: it changed, run `timelift scan` again"
    )


def _store(frames: np.ndarray, target: Path, clip_format: ClipFormat) -> None:
    """Write a video's frames and their checksum, each whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole(target, writer=str(os.getpid())) as partial, partial.open("wb") as file:
        if clip_format.cache == "jpeg":
            file.write(jpeg_frames.packed(frames))
        else:
            np.save(file, frames)
        file.flush()
        summed = checksum(partial)
    with whole(checksum_path(target), writer=str(os.getpid())) as partial:
        partial.write_text(summed, encoding="ascii")


def _video_bytes(video: Video, clip_format: ClipFormat) -> int:
    if not (video.frames and video.width and video.height):
        raise DataError(
            f"{video.path} has no known frames ({video.status}): run `timelift scan`, or leave it out"
        )
    width, height = scaled_size(video.width, video.height, clip_format.short_side)
    size = video.frames * width * height * clip_format.channels
    return (size // jpeg_frames.SHARE if clip_format.cache == "jpeg" else size) + _HEADER_BYTES


def _check_disk(missing: list[Video], clip_format: ClipFormat, folder: Path) -> None:
    if not missing:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise DataError(f"the cache folder {folder} cannot be made ({error}): name another one") from error
    if not writable:
        raise DataError(f"the cache folder {folder} cannot be written to: name another one")
    needed = sum(_video_bytes(video, clip_format) for video in missing) + _SPARE_BYTES
    if needed > free:
        raise DataError(
            f"the cache in {folder} needs {_gib(needed)}, the disk has {_gib(free)} free: "
            "make room, name another folder, or go without a cache"
        )


def _remove_stale(folder: Path) -> None:
    for path in (folder / LAYOUT).glob("??/*.partial"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def _gib(size: int) -> str:
    return f"{size / GIB:.2f} GiB"
