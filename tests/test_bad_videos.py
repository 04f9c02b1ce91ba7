"""Broken files in a data set: judged once, the same for every variant, and said in every report."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from study_tiny import run_here, tiny_study
from timelift.cli.report import print_and_write
from timelift.records import DataError
from timelift.records.predictions import read_predictions
from timelift.runs.study import open_study, prepare_study
from videos_tiny import write_net, write_videos

BROKEN = {  # 2 of 40 videos, and one more that only lost its end
    "train/left/clip 1.mkv": "unreadable",
    "test/right/clip 3.mkv": "unreadable",
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty tiny videos, 5 % of which do not open."""
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    data = write_videos(tmp_path / "videos", per_class=10)
    (data / "train/left/clip 1.mkv").write_bytes(b"")
    (data / "test/right/clip 3.mkv").write_bytes(b"this is no video")
    return data


def test_every_variant_has_the_same_videos_and_the_report_says_which_were_left_out(tmp_path, broken):
    study, folder = replace(tiny_study(broken, write_net(tmp_path)), bad_videos="exclude"), tmp_path / "study"
    run_here(study, folder)
    print_and_write(folder)
    runs = [json.loads(path.read_text()) for path in sorted(folder.rglob("run.json"))]
    assert len(runs) == 2
    assert len({(run["train_digest"], run["order_digest"], run["data_digest"]) for run in runs}) == 1
    judged = {read_predictions(path).videos for path in folder.rglob("predictions.npz")}
    assert len(judged) == 1
    assert sorted(Path(name).name for name in judged.pop()) == sorted(
        f"clip {i}.mkv" for i in range(10) for label in "ab" if (label, i) != ("b", 3)
    )
    with (folder / "data.csv").open() as file:
        assert sum(row["status"] != "ok" for row in csv.DictReader(file)) == len(BROKEN)
    for report in ("report.html", "report.md"):
        text = (folder / report).read_text()
        assert "2 of 40 videos left out" in text
        for name in BROKEN:
            assert f"{name} is unreadable (" in text
        assert "the file is empty (0 bytes)" in text
    assert "Every video decodes without a complaint" not in (folder / "report.html").read_text()


def test_under_error_nothing_trains_and_all_are_listed(tmp_path, broken):
    study, folder = tiny_study(broken, write_net(tmp_path)), tmp_path / "study"
    study = open_study(study, folder)
    with pytest.raises(DataError) as info:
        prepare_study(study, folder, say=lambda _: None)
    assert "2 of 40 videos are not as they should be" in str(info.value)
    assert all(name in str(info.value) for name in BROKEN)
    assert not list(folder.rglob("run.json"))
    assert not (tmp_path / "cache").exists()
