"""The command line as a person meets it: every verb on tiny videos, and one clear line for every mistake."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import timelift
from timelift.cli.main import main
from timelift.data.encode import encode_grey
from timelift.records.predictions import read_predictions
from videos_tiny import moving_bar, settings, write_net, write_videos


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))


def run(*words: object) -> int:
    """The exit code of a command."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def complaint(capsys: pytest.CaptureFixture, *words: object, code: int) -> str:
    """The one line that a failing command ends with."""
    assert run(*words) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("timelift: ")]
    assert len(lines) == 1
    return lines[0]


def train(data: Path, output: Path, *more: object) -> int:
    variant = f"{write_net(output.parent)} Inflate(frames=3)"
    return run("train", data, "--variant", variant, "--output", output, *settings(), *more)


def test_a_network_trains_is_judged_and_predicts_as_it_was_stored(tmp_path, capsys):
    data = write_videos(tmp_path / "videos of Jürgen", splits=("train", "test"))
    assert train(data, tmp_path / "run", "--no-validation") == 0
    capsys.readouterr()

    assert run("evaluate", tmp_path / "run", data, "--output", tmp_path / "again.npz") == 0
    stored = read_predictions(tmp_path / "run" / "predictions.npz")
    again = read_predictions(tmp_path / "again.npz")
    np.testing.assert_allclose(again.clip_logits, stored.clip_logits, atol=1e-5)
    assert "acc/top1/video" in capsys.readouterr().out

    video = next((data / "test" / "left").iterdir())
    assert run("predict", tmp_path / "run", video, "--top", 2) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows[:2]] == ["1", "2"]
    assert sum(float(row["probability"]) for row in rows[:2]) == pytest.approx(1, abs=1e-4)

    assert run("predict", tmp_path / "run", data / "test", "--format", "json") == 0
    assert len({row["video"] for row in json.loads(capsys.readouterr().out)}) == 12


def test_a_loaded_network_says_its_classes_and_takes_its_own_clips(tmp_path):
    data = write_videos(tmp_path / "videos")
    assert train(data, tmp_path / "run", "--no-validation") == 0
    model = timelift.load(tmp_path / "run")
    assert model.classes == ("left", "right")
    clip = model.transform(np.zeros((4, 20, 24, 3), dtype=np.uint8))
    assert clip.shape == (1, 3, 4, 16, 16)
    with torch.inference_mode():
        assert model(clip).shape == (1, 2)


def test_predict_reads_a_list_and_goes_on_behind_a_bad_video(tmp_path, capsys, monkeypatch):
    data = write_videos(tmp_path / "videos")
    assert train(data, tmp_path / "run", "--no-validation") == 0
    (tmp_path / "bad.mp4").write_bytes(b"")
    good = next((data / "test" / "left").iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{tmp_path / 'bad.mp4'}\n{good}\n"))
    capsys.readouterr()
    assert run("predict", tmp_path / "run") == 1
    shown = capsys.readouterr()
    assert "bad.mp4" in shown.err
    assert {row["video"] for row in csv.DictReader(io.StringIO(shown.out))} == {str(good)}


def test_scan_and_split_write_manifests_that_every_verb_reads(tmp_path, capsys):
    data = write_videos(tmp_path / "videos", per_class=10, splits=())
    assert run("scan", data, "--output", tmp_path / "all.csv") == 0
    assert "20 ok" in capsys.readouterr().out
    assert run("split", tmp_path / "all.csv", "--output", tmp_path / "split.csv") == 0
    assert "12 videos in train" in capsys.readouterr().out
    assert train(tmp_path / "split.csv", tmp_path / "run") == 0


def test_inspect_measures_the_still_clip(tmp_path, capsys):
    assert run("inspect", f"{write_net(tmp_path)} Inflate(frames=3)", "--size", 32) == 0
    shown = capsys.readouterr().out
    measured = float(shown.split("image network's by ")[1].split()[0])
    assert measured < 1e-5
    assert run("inspect", f"{write_net(tmp_path)} Inflate(alphas=(1, 1, 1))", "--size", 32) == 0
    assert float(capsys.readouterr().out.split("image network's by ")[1].split()[0]) > 1e-2


def test_a_comparison_writes_table_and_page_and_is_not_repeated(tmp_path, capsys):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)
    words = [
        "compare", data, "--variant", f"{net} Framewise()", "--variant", f"{net} Inflate(frames=3)",
        "--seeds", 3, "--selection", "last", "--workers", 1, "--output", tmp_path / "study", *settings(),
    ]  # fmt: skip
    assert run(*words) == 0
    shown = capsys.readouterr()
    assert (tmp_path / "study" / "report.html").is_file()
    assert "baseline" in shown.out
    runs = sorted((tmp_path / "study" / "runs").glob("*/seed-*/run.json"))
    assert len(runs) == 6
    before = [path.stat().st_mtime_ns for path in runs]
    assert run(*words) == 0
    assert [path.stat().st_mtime_ns for path in runs] == before
    assert run("compare", data, *words[2:6], "--output", tmp_path / "study", "--status") == 0
    assert capsys.readouterr().out.count("done     seed") == 6
    changed = complaint(capsys, *words, "--set", "training.epochs=3", code=2)
    assert "training.epochs" in changed


@pytest.mark.parametrize("verb", ["scan", "split"])
def test_a_missing_folder_is_named(verb, tmp_path, capsys):
    assert "nowhere" in complaint(capsys, verb, tmp_path / "nowhere", code=1)


def test_an_empty_class_is_named(tmp_path, capsys):
    data = write_videos(tmp_path / "videos")
    (data / "train" / "resting").mkdir()
    assert "resting" in complaint(capsys, "scan", data, "--output", tmp_path / "m.csv", code=1)
    assert not (tmp_path / "m.csv").exists()


def test_a_bad_line_of_a_list_is_named_with_its_number(tmp_path, capsys):
    data = write_videos(tmp_path / "videos", splits=())
    lines = [f"{path} {path.parent.name}" for path in sorted(data.glob("*/*.mkv"))] * 2
    lines[16] = "nothing_here"
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert "line 17" in complaint(capsys, "scan", tmp_path / "list.txt", code=1)


def test_bad_videos_stop_a_training_before_anything_is_written_and_can_be_excluded(tmp_path, capsys, shared):
    data = write_videos(tmp_path / "videos")
    (data / "train" / "left" / "empty.mp4").write_bytes(b"")
    cut = shared / "data" / "awkward" / "derived" / "truncated_half_v_Archery_g01_c01.avi"
    shutil.copy(cut, data / "train" / "left" / "cut Ähre.avi")
    said = []
    assert train(data, tmp_path / "run", "--no-validation") == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("timelift: ")]
    assert len(said) == 1
    assert "empty.mp4" in said[0]
    assert not (tmp_path / "run" / "run.json").exists()
    assert train(data, tmp_path / "run2", "--no-validation", "--bad-videos", "exclude") == 0


def test_a_class_with_one_video_cannot_be_split(tmp_path, capsys):
    data = write_videos(tmp_path / "videos", splits=())
    lone = data / "lonely"
    lone.mkdir()
    (lone / "one.mkv").write_bytes(encode_grey(moving_bar(True, 1), 25))
    assert "lonely" in complaint(capsys, "split", data, "--output", tmp_path / "m.csv", code=1)
    assert not (tmp_path / "m.csv").exists()


@pytest.mark.parametrize(
    ("variant", "word"),
    [
        ("timm:resnet1800", "resnet1800"),
        ("timm:resnet18(weights=None) Inflate(frames=0)", "frames=0"),
        ("timm:resnet18(weights=None) Bend()", "Bend"),
        ("nothing", "nothing"),
        ("lenet5_3d Inflate(frames=3)", "lenet5_3d"),
    ],
)
def test_a_bad_variant_is_quoted(variant, word, capsys):
    assert word in complaint(capsys, "inspect", variant, code=2)


@pytest.mark.parametrize(
    ("setting", "word"), [("training.lr=1", "lr"), ("training.epochs=x", "epochs"), ("epochs=3", "epochs=3")]
)
def test_a_bad_setting_is_named(setting, word, tmp_path, capsys):
    words = ("train", tmp_path, "--variant", "lenet5_3d", "--output", tmp_path / "run", "--set", setting)
    assert word in complaint(capsys, *words, code=2)
    assert not (tmp_path / "run").exists()


def test_a_study_file_with_an_unknown_key_is_refused_with_its_line(tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text('data = "videos"\nvariants = ["lenet5_3d", "lenet5_3d(channels=(4, 6))"]\nsede = 5\n')
    line = complaint(capsys, "compare", file, code=2)
    assert "line 3" in line
    assert "sede" in line


@pytest.mark.parametrize(
    "verb",
    ["demo", "models", "inspect", "scan", "split", "train", "evaluate", "predict", "stream", "compare",
     "report", "video-mnist", "cache"],
)  # fmt: skip
def test_every_verb_has_help_with_an_example(verb, capsys):
    assert run(verb, "--help") == 0
    assert "Example: timelift" in " ".join(capsys.readouterr().out.split())


def test_video_mnist_is_a_data_set_and_the_cache_can_be_cleared(tmp_path, capsys):
    assert run("video-mnist", tmp_path / "vm", "--limit", 20) == 0
    assert run("scan", tmp_path / "vm", "--output", tmp_path / "m.csv") == 0
    assert "60 ok" in capsys.readouterr().out
    assert "vm" in complaint(capsys, "video-mnist", tmp_path / "vm", "--limit", 20, code=2)
    assert run("cache", "--clear") == 0
