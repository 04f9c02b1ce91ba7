"""Parts of long videos: found by time, counted, decoded and kept as the frames that they are."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from timelift.data import cache as cache_module
from timelift.data import scan as module
from timelift.data.cache import build_cache
from timelift.data.decode import decode_frames, every_frame
from timelift.data.encode import encode_grey
from timelift.data.examine import examine_parts
from timelift.data.facts import Facts
from timelift.data.frames import DecodedOnDemand
from timelift.data.layouts import read_dataset
from timelift.data.parts import frame_seconds, frames_within, part_of
from timelift.data.scan import examined, scan
from timelift.records import ClipFormat, DataError, Video
from timelift.records.video import read_manifest, write_manifest

FRAMES, FPS = 23, 10


def film(path: Path, frames: int = FRAMES) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 16, 24), dtype=np.uint8)
    path.write_bytes(encode_grey(pixels, FPS))
    return pixels


@pytest.mark.parametrize("seconds", [[0.0], [0.0, 0.1, 0.2, 0.3], [0.0, 0.04, 0.5, 0.54, 3.0]], ids=len)
@pytest.mark.parametrize("start", [0.0, 0.1, 0.2999999, 0.54, 9.0])
@pytest.mark.parametrize("end", [0.0, 0.2, 0.5, 3.0, 99.0])
def test_frames_within_are_those_of_a_loop(seconds, start, end):
    if end and end <= start:
        return
    inside = [i for i, at in enumerate(seconds) if at > start - 1e-6 and (not end or at < end - 1e-6)]
    first, count = frames_within(seconds, start, end)
    assert list(range(first, first + count)) == inside


def test_times_count_from_the_first_frame_and_fall_back_on_the_rate():
    steady = Facts("ok", frames=3, fps=25.0)
    assert frame_seconds([50, 60, 80], Fraction(1, 100), steady) == [0.0, 0.1, 0.3]
    unsorted = Facts("ok", frames=3, fps=25.0, timestamps_increasing=False)
    assert frame_seconds([50, 10, None], Fraction(1, 100), unsorted) == [0.0, 0.04, 0.08]
    assert frame_seconds([5, 1], None, Facts("ok", timestamps_increasing=False)) is None


@pytest.mark.parametrize(
    ("status", "part", "expected", "words"),
    [
        ("ok", (0.2, 0.5), ("ok", 2, 3), ""),
        ("ok", (0.9, 3.0), ("short", 9, 1), "the video lasts 1.0 s"),
        ("ok", (5.0, 6.0), ("unreadable", 10, 0), "no frame from 5 s to 6 s"),
        ("short", (0.0, 0.5), ("ok", 0, 5), ""),
        ("short", (0.5, 0.0), ("short", 5, 5), "cut"),
        ("damaged", (0.0, 0.5), ("damaged", 0, 5), "cut"),
        ("unreadable", (0.0, 0.5), ("unreadable", 0, 10), "cut"),
    ],
)
def test_a_part_is_judged_by_what_it_lacks(status, part, expected, words):
    whole = Facts(status, frames=10, fps=10.0, reason="" if status == "ok" else "cut")
    found = part_of(whole, [i / 10 for i in range(10)], part)
    assert (found.status, found.first_frame, found.frames) == expected
    assert words in found.reason
    assert bool(found.reason) == (found.status != "ok")


def test_a_part_without_times_is_unreadable():
    assert part_of(Facts("ok", frames=3), None, (0.0, 1.0)).status == "unreadable"


@pytest.mark.parametrize("column", ["path", "file_name"])
def test_parts_of_a_film_are_scanned_once_and_decode_as_its_frames(tmp_path, monkeypatch, column):
    opened = []

    def here(function, jobs, **_):
        for index, job in enumerate(jobs):
            opened.append(job[0])
            yield index, examined(job)

    monkeypatch.setattr(module, "run_isolated", here)
    pixels = film(tmp_path / "film.mkv")
    lines = [f"{column},label,start,end", "film.mkv,a,0,0.7", "film.mkv,b,0.7,1.5", "film.mkv,a,1.5,"]
    (tmp_path / "parts.csv").write_text("\n".join(lines))
    manifest = scan(read_dataset(tmp_path / "parts.csv").manifest)
    assert len(opened) == 1
    assert [v.name for v in manifest.videos] == ["film.mkv#t=0,0.7", "film.mkv#t=0.7,1.5", "film.mkv#t=1.5"]
    assert [(v.first_frame, v.frames, v.status) for v in manifest.videos] == [
        (0, 7, "ok"),
        (7, 8, "ok"),
        (15, 8, "ok"),
    ]
    write_manifest(manifest, tmp_path / "manifest.csv")
    manifest = read_manifest(tmp_path / "manifest.csv")
    clip = ClipFormat(short_side=16, channels=1)
    opened = []
    monkeypatch.setattr(cache_module, "every_frame", lambda *a, **k: opened.append(a) or every_frame(*a, **k))
    cache = build_cache(manifest, clip, tmp_path / "cache", workers=1)
    assert len(opened) == 1  # the film, once for all of its parts
    for source in (DecodedOnDemand(manifest, clip), cache):
        for video in manifest.videos:
            picked = source.frames(video, [1, 0, video.frames - 1])[..., 0]
            at = video.first_frame
            np.testing.assert_array_equal(picked, pixels[[at + 1, at, at + video.frames - 1]])


def test_the_same_part_twice_and_a_part_that_ends_before_it_starts_are_refused(tmp_path):
    film(tmp_path / "film.mkv")
    table = tmp_path / "parts.csv"
    table.write_text("path,label,start,end\nfilm.mkv,a,0,1\nfilm.mkv,b,0,1\n")
    with pytest.raises(DataError, match=r"names film.mkv#t=0,1 twice"):
        read_dataset(table)
    table.write_text("path,label,start,end\nfilm.mkv,a,0,1\nfilm.mkv,b,2,1\n")
    with pytest.raises(DataError, match=r"parts.csv, line 3: end 1 is not behind start 2"):
        read_dataset(table)
    table.write_text("path,label,start,end\nfilm.mkv,a,0,1\nfilm.mkv,b,0:10,1\n")
    with pytest.raises(DataError, match=r"line 3: start '0:10'; seconds are wanted"):
        read_dataset(table)


def test_a_part_of_a_real_cut_film_is_ok_before_the_cut(shared):
    path = shared / "data/awkward/derived/truncated_70pct_pancake.mkv"  # 7.1 of 10.3 s
    before, over = examine_parts(path, [(1.0, 3.0), (6.0, 9.0)])
    assert (before.status, before.first_frame, before.frames) == ("ok", 30, 60)
    assert over.status == "short"
    whole = decode_frames(path, range(30, 90), short_side=16)
    assert len(whole) == before.frames


def test_a_video_without_a_part_is_named_by_its_path():
    assert (Video("a b.mp4", "x").name, Video("a b.mp4", "x").is_part) == ("a b.mp4", False)
