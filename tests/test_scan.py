"""One bad file costs one file; the scan says what the others hold, and the policy what stays."""

import hashlib
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from timelift.data import scan as module
from timelift.data.isolated import Lost, run_isolated
from timelift.data.scan import scan, usable
from timelift.records import DataError, Manifest, UsageError, Video


def picture_video(root: Path, name: str, frames: int = 3) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((6, 8, 3), index, np.uint8))
    return folder


def manifest_of(root: Path, *paths: str) -> Manifest:
    videos = tuple(Video(path, "ab"[i % 2]) for i, path in enumerate(paths))
    return Manifest(str(root), ("a", "b"), videos)


def test_a_scan_fills_in_every_field_and_keeps_the_order(tmp_path):
    picture_video(tmp_path, "one", frames=3)
    picture_video(tmp_path, "two", frames=5)
    (tmp_path / "zero.mp4").touch()
    seen: list[int] = []
    found = scan(manifest_of(tmp_path, "two", "zero.mp4", "one", "none.mp4"), workers=2, progress=seen.append)
    assert [v.path for v in found.videos] == ["two", "zero.mp4", "one", "none.mp4"]
    assert [v.status for v in found.videos] == ["ok", "unreadable", "ok", "unreadable"]
    assert [v.frames for v in found.videos] == [5, 0, 3, 0]
    assert (found.videos[0].width, found.videos[0].height) == (8, 6)
    assert "0 bytes" in found.videos[1].reason
    assert "No such file" in found.videos[3].reason
    assert seen == [1, 2, 3, 4]
    joined = b"".join((tmp_path / "two" / f"{i}.png").read_bytes() for i in range(5))
    assert found.videos[0].sha256 == hashlib.sha256(joined).hexdigest()
    assert found.videos[1].sha256 == hashlib.sha256(b"").hexdigest()
    assert found.videos[3].sha256 == ""


def test_the_number_of_workers_changes_nothing(tmp_path):
    for name in "abcde":
        picture_video(tmp_path, name)
    manifest = manifest_of(tmp_path, *"abcde")
    assert scan(manifest, workers=1) == scan(manifest, workers=3)


def test_a_second_scan_forgets_the_first(tmp_path):
    picture_video(tmp_path, "a")
    manifest = manifest_of(tmp_path, "a")
    stale = manifest.with_videos([Video("a", "a", status="damaged", frames=99, reason="old", sha256="old")])
    assert scan(stale, workers=1) == scan(manifest, workers=1)


def test_a_crash_or_hang_of_the_decoder_costs_that_file_only(tmp_path, monkeypatch):
    (tmp_path / "sick_decoder.py").write_text(
        "import os, time, timelift.data.decode\n"
        "from timelift.data.scan import examined as healthy\n"
        "def examined(job):\n"
        "    path = job[0]\n"
        "    if 'crash' in os.path.basename(path): os.abort()\n"
        "    if 'hang' in os.path.basename(path): time.sleep(60)\n"
        "    print('chatter of a library', flush=True)\n"
        "    return healthy(job)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "_EXAMINED", "sick_decoder:examined")
    monkeypatch.setattr(module, "_patience_seconds", lambda path: 4.0)
    names = ["a1", "crash1", "a2", "hang1", "crash2", "a3", "a4"]
    for name in names:
        picture_video(tmp_path / "data", name)
    found = scan(manifest_of(tmp_path / "data", *names), workers=2)
    assert {v.path for v in found.videos if v.status == "ok"} == {"a1", "a2", "a3", "a4"}
    reasons = {v.path: v.reason for v in found.videos if v.status == "unreadable"}
    assert "crashed" in reasons["crash1"]
    assert "crashed" in reasons["crash2"]
    assert "no answer within 4 s" in reasons["hang1"]


def test_an_exception_of_the_decoder_is_the_files_fault(tmp_path, monkeypatch):
    picture_video(tmp_path, "a")

    def burst(path: Path, parts: list) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr("timelift.data.examine.examine_parts", burst)
    (answer,) = module.examined((str(tmp_path / "a"), [[0, 0]]))["parts"]
    assert (answer["status"], answer["reason"]) == ("unreadable", "MemoryError: too large")


def test_jobs_and_answers_stay_together():
    jobs = [f"{i} * {i}" for i in range(30)]
    answers = dict(run_isolated("builtins:eval", jobs, workers=3, timeout_seconds=lambda job: 30))
    assert answers == {i: i * i for i in range(30)}


def test_a_stopped_scan_ends_its_processes_and_their_work(tmp_path):
    slow = f"__import__('time').sleep(10) or open({str(tmp_path / 'done')!r}, 'w').close()"
    jobs = ["__import__('os').getpid()", slow, slow, slow]
    answers = run_isolated("builtins:eval", jobs, workers=2, timeout_seconds=lambda job: 60)
    _, pid = next(answers)
    answers.close()  # as when the user interrupts
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "done").exists()


def test_a_worker_that_cannot_start_is_no_fault_of_the_files():
    with pytest.raises(RuntimeError, match="did not start"):
        list(run_isolated("no_such_module:f", [1], workers=1, timeout_seconds=lambda job: 30))


def test_no_jobs_no_workers():
    assert list(run_isolated("builtins:eval", [], workers=2, timeout_seconds=lambda job: 30)) == []


def test_a_lost_job_says_why():
    ((_, answer),) = run_isolated(
        "builtins:eval", ["__import__('os')._exit(7)"], workers=1, timeout_seconds=lambda job: 30
    )
    assert answer == Lost("crashed (exit 7)")


# the policy

SCANNED = Manifest(
    "/data",
    ("a", "b"),
    (
        Video("1", "a", "train", status="ok"),
        Video("2", "a", "train", status="short", reason="cut"),
        Video("3", "b", "train", status="ok"),
        Video("4", "b", "train", status="damaged", reason="rot"),
        Video("5", "b", "train", status="unreadable", reason="empty"),
        Video("6", "b", "test", status="ok"),
        Video("7", "a", "test", status="ok"),
    ),
)


@pytest.mark.parametrize(
    ("policy", "kept", "notes"),
    [
        (
            "exclude",
            "1367",
            ("dropped: 2 is short (cut)", "dropped: 4 is damaged (rot)", "dropped: 5 is unreadable (empty)"),
        ),
        (
            "keep-readable",
            "123467",
            ("kept: 2 is short (cut)", "kept: 4 is damaged (rot)", "dropped: 5 is unreadable (empty)"),
        ),
    ],
)
def test_the_policy_decides_which_videos_stay(policy, kept, notes):
    manifest, said = usable(SCANNED, policy)
    assert "".join(v.path for v in manifest.videos) == kept
    assert said == notes
    assert manifest.classes == SCANNED.classes


def test_the_policy_error_names_the_first_bad_videos():
    with pytest.raises(DataError, match=r"3 of 7 videos .*2 is short \(cut\); 4 is damaged.*policy exclude"):
        usable(SCANNED, "error")
    fine = SCANNED.with_videos(v for v in SCANNED.videos if v.status == "ok")
    assert usable(fine, "error") == (fine, ())
    more = [Video(f"m{i}", "a", "train", status="damaged", reason="rot") for i in range(18)]
    many = SCANNED.with_videos([*SCANNED.videos, *more])
    with pytest.raises(DataError, match="; and 1 more"):
        usable(many, "error")


def test_a_class_without_usable_videos_is_an_error():
    bad = SCANNED.with_videos(
        [*SCANNED.videos[1:], Video("8", "a", "train", status="unreadable", reason="gone")]
    )
    with pytest.raises(DataError, match=r"class 'a' has no usable video left in train: 2 is short \(cut\)"):
        usable(bad, "exclude")
    assert len(usable(bad, "keep-readable")[0].videos) == 5


def test_an_unscanned_manifest_or_unknown_policy_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="not scanned"):
        usable(manifest_of(tmp_path, "a", "b"), "exclude")
    with pytest.raises(UsageError, match="policy 'ignore' is unknown"):
        usable(SCANNED, "ignore")  # type: ignore[arg-type]


# real data


def test_real_awkward_files_are_judged(shared):
    folder = shared / "data/awkward/derived"
    names = sorted(path.name for path in folder.iterdir())
    found = scan(manifest_of(folder, *names), workers=1)
    assert {v.path: v.status for v in found.videos} == {
        "bitrot_v_Archery_g01_c01.avi": "damaged",
        "empty.mp4": "unreadable",
        "text_renamed.mp4": "unreadable",
        "truncated_60pct_bikes.mp4": "unreadable",
        "truncated_70pct_pancake.mkv": "short",
        "truncated_half_bbb.webm": "short",
        "truncated_half_v_Archery_g01_c01.avi": "damaged",
    }
    assert all(v.reason for v in found.videos)


@pytest.mark.slow
def test_the_whole_of_ucf101_8_scans_to_the_known_frames(shared):
    folder = shared / "data/ucf101-8"
    rows = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    started = time.perf_counter()
    found = scan(manifest_of(folder, *(row["path"] for row in rows)))
    print(f"{len(rows)} videos in {time.perf_counter() - started:.1f} s")
    assert [v.frames for v in found.videos] == [row["frames"] for row in rows]
    assert {v.status for v in found.videos} == {"ok"}
