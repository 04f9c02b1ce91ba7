import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from timelift.data import cache, parallel
from timelift.data.cache import (
    CachedFrames,
    build_cache,
    cache_path,
    cache_size_bytes,
    clear_cache,
    missing_videos,
    open_frames,
)
from timelift.data.cache_check import CacheCheck, check_cache
from timelift.data.encode import encode_grey
from timelift.data.frames import DecodedOnDemand
from timelift.data.jpeg_frames import packed
from timelift.records import ClipFormat, DataError, Manifest, Video

FORMAT = ClipFormat(short_side=20, channels=3)


class Stopped(BaseException):
    """What a user's Ctrl-C is, without stopping the tests."""


@pytest.fixture
def manifest(tmp_path):
    """Four videos of different lengths and sizes; the last two hold the same bytes."""
    folder = tmp_path / "videos"
    folder.mkdir()
    videos = []
    for index, (frames, height, width) in enumerate([(7, 24, 33), (3, 40, 26), (12, 20, 20), (12, 20, 20)]):
        rng = np.random.default_rng(min(index, 2))
        data = encode_grey(rng.integers(0, 256, (frames, height, width), dtype=np.uint8), fps=10)
        (folder / f"{index}.mkv").write_bytes(data)
        videos.append(
            Video(
                path=f"{index}.mkv",
                label="x",
                status="ok",
                frames=frames,
                height=height,
                width=width,
                sha256=f"bytes of {min(index, 2)}",
            )
        )
    return Manifest(root=str(folder), classes=("x",), videos=tuple(videos))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The files that the cache decodes in this process, noted."""
    noted, decode = [], cache.decode_frames

    def noting(path, indices, **how):
        noted.append(path.name)
        return decode(path, indices, **how)

    monkeypatch.setattr(cache, "decode_frames", noting)
    return noted


def stored(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".crc32")


@pytest.mark.parametrize("clip_format", [FORMAT, ClipFormat(short_side=13, channels=1)])
@pytest.mark.parametrize("workers", [1, 2])
def test_cached_frames_are_those_decoded_on_demand(manifest, folder, clip_format, workers):
    cached = build_cache(manifest, clip_format, folder, workers=workers)
    on_demand = DecodedOnDemand(manifest, clip_format)
    for video in manifest.videos:
        for indices in ([0], [2, 0, 1, 1], [0, video.frames - 1], list(range(video.frames))):
            frames = cached.frames(video, indices)
            assert type(frames) is np.ndarray
            assert frames.dtype == np.uint8
            np.testing.assert_array_equal(frames, on_demand.frames(video, indices))


def test_nothing_is_decoded_twice(manifest, folder, decoded):
    build_cache(manifest, FORMAT, folder, workers=1)
    assert sorted(decoded) == ["0.mkv", "1.mkv", "2.mkv"]  # the fourth has the bytes of the third
    build_cache(manifest, FORMAT, folder, workers=1)
    assert len(decoded) == 3


def test_the_cache_is_shared_between_studies(manifest, folder, decoded):
    build_cache(manifest.with_videos(manifest.videos[:2]), FORMAT, folder, workers=1)
    elsewhere = [replace(video, path=f"moved/{video.path}", split="test") for video in manifest.videos]
    (Path(manifest.root) / "moved").symlink_to(manifest.root)
    build_cache(manifest.with_videos(elsewhere), replace(FORMAT, size=8, frames=2), folder, workers=1)
    assert len(decoded) == 3


@pytest.mark.parametrize("other", [replace(FORMAT, short_side=21), replace(FORMAT, channels=1)])
def test_another_size_or_colour_is_cached_apart(manifest, folder, other):
    build_cache(manifest, FORMAT, folder, workers=1)
    assert missing_videos(manifest, other, folder) == list(manifest.videos[:3])
    assert missing_videos(manifest, FORMAT, folder) == []


def test_a_build_that_was_stopped_is_taken_up_where_it_was(manifest, folder, decoded, monkeypatch):
    whole = cache.os.replace

    def stopped_at_the_last(source, target):
        if len(decoded) == 3:
            raise Stopped
        whole(source, target)

    monkeypatch.setattr(cache.os, "replace", stopped_at_the_last)
    with pytest.raises(Stopped):
        build_cache(manifest, FORMAT, folder, workers=1)
    assert len(missing_videos(manifest, FORMAT, folder)) == 1
    monkeypatch.setattr(cache.os, "replace", whole)
    build_cache(manifest, FORMAT, folder, workers=1)
    assert len(decoded) == 4
    assert decoded[3] == decoded[2]


def test_killed_writers_leave_nothing_behind_for_long(manifest, folder):
    place = cache_path(folder, manifest.videos[0], FORMAT)
    place.parent.mkdir(parents=True)
    old, fresh = (place.with_name(f"{place.name}.{pid}.partial") for pid in (1, 2))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    build_cache(manifest, FORMAT, folder, workers=1)
    assert not old.exists()
    assert fresh.exists()


BUILDER = """
import pickle, sys
from pathlib import Path
from timelift.data.cache import build_cache
manifest, clip_format, folder = pickle.loads(Path(sys.argv[1]).read_bytes())
build_cache(manifest, clip_format, folder, workers=1)
"""


def test_two_builders_at_once_both_succeed(manifest, folder, tmp_path):
    (tmp_path / "work").write_bytes(pickle.dumps((manifest, FORMAT, folder)))
    command = [sys.executable, "-c", BUILDER, str(tmp_path / "work")]
    builders = [subprocess.Popen(command) for _ in range(2)]
    assert [builder.wait() for builder in builders] == [0, 0]
    assert len(stored(folder)) == 3


def test_the_size_is_known_before(manifest, folder):
    build_cache(manifest, FORMAT, folder, workers=1)
    sizes = [cache_path(folder, video, FORMAT).stat().st_size for video in manifest.videos]
    assert cache_size_bytes(manifest, FORMAT) == sum(sizes)


def test_reading_leaves_no_file_open(manifest, folder):
    cached = build_cache(manifest, FORMAT, folder, workers=1)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    kept = [cached.frames(video, [0]) for video in manifest.videos for _ in range(50)]
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    maps = Path("/proc/self/maps")
    assert len(kept) == 200
    assert after <= before
    assert not maps.exists() or str(folder) not in maps.read_text()


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["exact", "jpeg"])
def test_a_bit_that_flipped_is_found_and_the_video_decoded_anew(manifest, folder, kind):
    clip_format = replace(FORMAT, cache=kind)
    build_cache(manifest, clip_format, folder, workers=1)
    assert check_cache(folder, workers=1) == CacheCheck(3, (), 0)
    path = cache_path(folder, manifest.videos[1], clip_format)
    before = path.read_bytes()
    flip_a_bit(path)
    assert check_cache(folder, workers=1) == CacheCheck(2, (path,), 0)
    assert missing_videos(manifest, clip_format, folder) == [manifest.videos[1]]
    build_cache(manifest, clip_format, folder, workers=1)
    assert path.read_bytes() == before
    path.with_suffix(".crc32").unlink()
    assert check_cache(folder, workers=1) == CacheCheck(2, (), 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_cached_as_jpeg_are_nearly_those_decoded(manifest, folder, channels):
    clip_format = replace(FORMAT, cache="jpeg", channels=channels)
    cached = build_cache(manifest, clip_format, folder, workers=1)
    exact = DecodedOnDemand(manifest, replace(clip_format, cache="exact"))
    same = DecodedOnDemand(manifest, clip_format)
    for video in manifest.videos:
        for indices in ([0], [2, 0, 1, 1], list(range(video.frames))):
            frames, wanted = cached.frames(video, indices), exact.frames(video, indices)
            assert frames.shape == wanted.shape
            np.testing.assert_array_equal(same.frames(video, indices), frames)  # without a cache, too
            assert np.abs(frames.astype(int) - wanted).mean() < 4  # of noise, the worst there is
    with pytest.raises(DataError, match="it has 7"):
        cached.frames(manifest.videos[0], [7])
    path = cache_path(folder, manifest.videos[0], clip_format)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged"):
        cached.frames(manifest.videos[0], [6])


def test_colours_cached_as_jpeg_keep_their_order():
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 200
    stored_frames = packed(red)
    assert stored_frames[:8] == (1).to_bytes(8, "little")
    decoded = cv2.imdecode(np.frombuffer(stored_frames[24:], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - red[0]).max() <= 3


def test_clearing_frees_what_was_cached_and_nothing_else(manifest, folder):
    build_cache(manifest, FORMAT, folder, workers=1)
    (folder / "mine.npy").write_bytes(b"mine")
    size = sum(cache_path(folder, video, FORMAT).stat().st_size for video in manifest.videos[:3])
    assert clear_cache(folder) == size + 3 * len("checksum")
    assert stored(folder) == ["mine.npy"]
    assert clear_cache(folder) == 0


def test_a_full_disk_is_told_beforehand(manifest, folder, monkeypatch, decoded):
    usage = cache.shutil.disk_usage(folder.parent)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=2**28 + 10_000))
    with pytest.raises(DataError, match=r"needs 0\.25 GiB, the disk has 0\.25 GiB free: make room"):
        build_cache(manifest, FORMAT, folder, workers=1)
    assert decoded == []
    source, why = open_frames(manifest, FORMAT, folder=folder)
    assert isinstance(source, DecodedOnDemand)
    assert "make room" in why


def test_frames_are_cached_when_they_fit_and_the_sentence_says_why(manifest, folder, decoded):
    size = cache_size_bytes(manifest, FORMAT)
    source, why = open_frames(manifest, FORMAT, folder=folder, cache_limit_bytes=size - 1, workers=1)
    assert source == DecodedOnDemand(manifest, FORMAT)
    assert "may take 0.00 GiB" in why
    assert not folder.exists()
    source, why = open_frames(manifest, FORMAT, folder=folder, cache_limit_bytes=0, workers=1)
    assert source == DecodedOnDemand(manifest, FORMAT)
    assert "is off" in why
    source, why = open_frames(manifest, FORMAT, folder=folder, cache_limit_bytes=size, workers=1)
    assert source == CachedFrames(folder, FORMAT)
    assert "3 of 4 videos decoded now" in why
    source, why = open_frames(manifest, FORMAT, folder=folder, workers=1)
    assert "nothing to decode" in why
    assert len(decoded) == 3


def test_a_folder_that_cannot_be_made_is_no_end(manifest, tmp_path):
    (tmp_path / "file").write_text("in the way")
    source, why = open_frames(manifest, FORMAT, folder=tmp_path / "file" / "cache")
    assert source == DecodedOnDemand(manifest, FORMAT)
    assert "cannot be made" in why
    with pytest.raises(DataError, match="cannot be made"):
        build_cache(manifest, FORMAT, tmp_path / "file" / "cache")


def test_the_default_folder_can_be_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path))
    assert cache.default_folder() == tmp_path
    monkeypatch.delenv("TIMELIFT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / ".cache" / "timelift"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_video_that_changed_since_the_scan_is_named(manifest, folder, workers):
    videos = [replace(video, frames=5) if video.path == "1.mkv" else video for video in manifest.videos]
    with pytest.raises(DataError, match=r"1\.mkv has 3 frames, the manifest says 5"):
        build_cache(manifest.with_videos(videos), FORMAT, folder, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_video_that_cannot_be_decoded_is_named(manifest, folder, workers):
    (Path(manifest.root) / "1.mkv").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"1\.mkv"):
        build_cache(manifest, FORMAT, folder, workers=workers)


def test_what_is_wrong_with_a_cached_video_is_said(manifest, folder):
    cached, video = CachedFrames(folder, FORMAT), manifest.videos[0]
    with pytest.raises(DataError, match=r"0\.mkv is not in the cache"):
        cached.frames(video, [0])
    build_cache(manifest, FORMAT, folder, workers=1)
    with pytest.raises(DataError, match=r"frame 7 of 0\.mkv was asked for: it has 7"):
        cached.frames(video, [7])
    cache_path(folder, video, FORMAT).write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="damaged"):
        cached.frames(video, [0])
    cache_path(folder, video, FORMAT).write_bytes(b"")
    with pytest.raises(DataError, match="damaged"):
        cached.frames(video, [0])


@pytest.mark.parametrize("lack", [{"sha256": ""}, {"width": 0}, {"frames": 0}])
def test_an_unscanned_video_is_named(manifest, folder, lack):
    unscanned = manifest.with_videos([replace(manifest.videos[0], status="unscanned", **lack)])
    with pytest.raises(DataError, match=r"0\.mkv.*timelift scan"):
        open_frames(unscanned, FORMAT, folder=folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_told_video_by_video(manifest, folder, workers):
    told = []
    build_cache(manifest, FORMAT, folder, workers=workers, progress=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]


def die(item):
    os._exit(9)


def test_a_worker_that_dies_is_told_as_such():
    with pytest.raises(DataError, match="a worker process died"):
        parallel.in_processes(die, [1, 2, 3], workers=2)


POOL = """
import os, sys, time
from timelift.data.parallel import in_processes

def work(item):
    with open(f"{sys.argv[1]}/{os.getpid()}", "w"):
        time.sleep(0.02)

in_processes(work, range(100_000), workers=2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", POOL, str(tmp_path)])
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [Path("/proc") / path.name for path in tmp_path.iterdir()]
    assert all(running(worker) for worker in workers)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(running(worker) for worker in workers))


def running(process):
    """Whether a process of /proc runs; one that ended but was not collected by its parent does not."""
    try:
        return (process / "stat").read_text().rsplit(") ")[-1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(happened):
    for _ in range(600):
        if happened():
            return
        time.sleep(0.05)
    pytest.fail("it has not happened within 30 seconds")


def square(item):
    return item * item


@pytest.mark.parametrize("workers", [None, 1, 2, 5])
def test_answers_come_in_the_items_order(workers):
    assert parallel.in_processes(square, range(30), workers=workers) == [n * n for n in range(30)]
    assert parallel.in_processes(square, [], workers=workers) == []
