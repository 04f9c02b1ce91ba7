"""`timelift split` as a person meets it: by group, by clip, as given; leaks refused, allowed or left out."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from timelift.cli.main import main
from timelift.data.layouts import read_dataset
from timelift.records.video import read_manifest
from timelift.runs.data import prepared


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of six groups of three files; files are read, not decoded."""
    for label in ("a", "b"):
        for group in range(6):
            for clip in range(3):
                path = tmp_path / f"videos/{label}/v_{label}_g{group:02d}_c{clip}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(path.name)
    return tmp_path / "videos"


def run(*words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def sides(manifest: Path, column: str) -> dict[str, set[str]]:
    found = defaultdict(set)
    with manifest.open() as file:
        for row in csv.DictReader(file):
            found[row[column]].add(row["split"])
    return found


def test_groups_and_copies_stay_together(tmp_path, data, capsys):
    (data / "b/v_b_g03_c9.mp4").write_bytes((data / "a/v_a_g00_c0.mp4").read_bytes())
    output = tmp_path / "m.csv"
    for seed in range(3):
        assert run("split", data, "--output", output, "--seed", seed) == 0
        assert all(len(of) == 1 for of in sides(output, "group").values())
        assert all(len(of) == 1 for of in sides(output, "sha256").values())
    assert "split by group, seed 2" in capsys.readouterr().out


def test_by_clip_is_refused_and_if_allowed_every_report_says_so(tmp_path, data, capsys):
    output = tmp_path / "m.csv"
    by_clip = ("split", data, "--by", "clip", "--output", output)
    assert run(*by_clip) == 1
    assert "the test would see what training saw" in capsys.readouterr().err
    assert not output.exists()

    assert run(*by_clip, "--allow-leaks") == 0
    assert "leaks allowed" in capsys.readouterr().out
    assert any(len(of) > 1 for of in sides(output, "group").values())
    manifest = read_manifest(output)
    assert any("in test, too" in video.allowed_leak for video in manifest.videos)
    scanned = manifest.with_videos(as_scanned(video) for video in manifest.videos)
    notes = prepared(scanned, policy="error", select_by_validation=False).notes
    assert any(note.startswith("leaks were allowed: ") for note in notes)

    assert run("split", output, "--by", "given", "--drop-leaks", "--output", tmp_path / "clean.csv") == 0
    clean = read_manifest(tmp_path / "clean.csv")
    assert len(clean.of_split("test").videos) == len(manifest.of_split("test").videos)
    assert all(len(of) == 1 for of in sides(tmp_path / "clean.csv", "group").values())
    assert not any(video.allowed_leak for video in clean.videos)


def as_scanned(video):
    from dataclasses import replace

    return replace(video, status="ok", frames=9)


def test_groups_by_pattern_and_by_column(tmp_path, data):
    output = tmp_path / "m.csv"
    assert run("split", data, "--group-pattern", r"_(c\d)\.", "--output", output) == 0
    assert set(sides(output, "group")) == {"c0", "c1", "c2"}
    rows = [f"{video.path},{video.label},{video.path[-5]}" for video in read_dataset(data).manifest.videos]
    (data / "my.csv").write_text("\n".join(["path,label,take", *rows]))
    assert run("split", data / "my.csv", "--group-column", "take", "--output", output) == 0
    assert set(sides(output, "group")) == {"0", "1", "2"}
    assert all(len(of) == 1 for of in sides(output, "group").values())


def test_shares_that_are_no_three_numbers_are_wrong_use(data):
    assert run("split", data, "--shares", "0.5,0.5") == 2
    assert run("split", data, "--by", "person") == 2
