"""A hundred thousand entries: read, split, checked and scanned without a quadratic step."""

import time
from pathlib import Path

import numpy as np
import pytest

from test_awkward import resident_bytes
from timelift.data import scan as module
from timelift.data.leaks import check_leaks, look_alikes
from timelift.data.scan import scan
from timelift.data.scan_journal import journal_of
from timelift.data.split import balanced_subset, split
from timelift.records import Manifest, Video
from timelift.records.video import read_manifest, write_manifest

ENTRIES = 100_000


def entries(count: int, classes: int = 400) -> Manifest:
    """Synthetic videos, 250 a class in 50 groups, each with bytes and looks of its own."""
    rng = np.random.default_rng(0)
    names = [f"class {i:03d}" for i in range(classes)]
    videos = [
        Video(
            path=f"videos/{names[i % classes]}/clip_{i:06d}.mp4",
            label=names[i % classes],
            group=f"{i % classes}_{i // classes % 50}",
            status="ok",
            frames=250,
            declared_frames=250,
            width=340,
            height=256,
            fps=25.0,
            sha256=rng.bytes(32).hex(),
            frame_hashes="-".join(rng.bytes(8).hex() for _ in range(3)),
        )
        for i in range(count)
    ]
    return Manifest("/data", tuple(sorted(names)), tuple(videos))


def timed(name: str, work):
    """What the work gives; its seconds of processor time and the memory that it left are printed."""
    before, started = resident_bytes(), time.process_time()
    found = work()
    grown = (resident_bytes() - before) / 2**20
    print(f"{name}: {time.process_time() - started:.2f} s, {grown:+.0f} MiB")
    return found


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_read_split_and_checked(tmp_path):
    manifest = entries(ENTRIES)
    path = tmp_path / "manifest.csv"
    timed("write the manifest", lambda: write_manifest(manifest, path))
    again = timed("read the manifest", lambda: read_manifest(path))
    assert [v.name.rsplit("/", 1)[1] for v in again.videos] == [
        v.name.rsplit("/", 1)[1] for v in manifest.videos
    ]
    parted = timed("split", lambda: split(again, seed=0))
    assert timed("check leaks", lambda: check_leaks(parted)) == ()
    assert timed("compare looks", lambda: look_alikes(parted)) == ()
    assert (
        len(timed("take a subset", lambda: balanced_subset(parted, 20, 0)).of_split("train").videos) == 8000
    )


@pytest.mark.slow
def test_a_scan_of_a_hundred_thousand_goes_on_where_it_was(tmp_path, monkeypatch):
    manifest = entries(ENTRIES)
    opened: list[str] = []

    def decoders(function, jobs, **_):
        facts = {"status": "ok", "frames": 250, "errors": 0}
        for index, job in enumerate(jobs):
            if len(opened) == ENTRIES // 2:
                opened.append("stopped")
                raise KeyboardInterrupt
            opened.append(job[0])
            yield index, {"parts": [facts], "sha256": "0"}

    monkeypatch.setattr(module, "run_isolated", decoders)

    def scanned() -> Manifest:
        with journal_of(tmp_path / "manifest.csv") as journal:
            return scan(manifest, workers=1, journal=journal)

    def stopped() -> None:
        with pytest.raises(KeyboardInterrupt):
            scanned()

    timed("half of the scan, without decoding", stopped)
    found = timed("the other half", scanned)
    assert {video.frames for video in found.videos} == {250}
    assert len(opened) == ENTRIES + 1
    assert len(set(opened)) == ENTRIES + 1


def test_entries_of_one_folder_are_known_from_their_rows_alone(tmp_path: Path):
    manifest = entries(37, classes=4)
    write_manifest(manifest, tmp_path / "manifest.csv")
    again = read_manifest(tmp_path / "manifest.csv")
    assert [v.sha256 for v in again.videos] == [v.sha256 for v in manifest.videos]
    assert [again.full_path(v).resolve() for v in again.videos] == [
        manifest.full_path(v).resolve() for v in manifest.videos
    ]
