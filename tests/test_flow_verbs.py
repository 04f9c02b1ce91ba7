"""Flow through the verbs: computed, trained on, evaluated and predicted, on tiny generated videos."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import timelift
from flow_tiny import write_gliding
from test_cli import complaint, run
from timelift.records.predictions import read_predictions
from videos_tiny import write_net

SMALL = ("clip.channels=2", "clip.short_side=48", "training.epochs=1", "training.batch_size=4")
STILL = ("augmentation.random_crop=false", "augmentation.flip=0.0")  # the classes are directions


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))


def sets(*settings: str) -> list[str]:
    return [word for setting in (*SMALL, *STILL, *settings) for word in ("--set", setting)]


def test_flow_is_made_trained_on_judged_and_predicted(tmp_path, capsys):
    videos, made, trained = write_gliding(tmp_path / "videos"), tmp_path / "flow", tmp_path / "run"
    assert run("flow", videos, "--output", made, "--workers", 1) == 0
    said = capsys.readouterr().out
    assert "8 ok" in said
    assert "40 fields (method dis, bound 20.0" in said
    assert "finished" in complaint(capsys, "flow", videos, "--output", made, code=2)

    train = ["train", made, "--variant", f"{write_net(tmp_path)} Inflate(frames=3)", "--no-validation"]
    wrong = complaint(capsys, *train, "--output", tmp_path / "wrong", code=1)
    assert "--set clip.channels=2" in wrong
    pictures = ["train", made, "--variant", "timm:tf_efficientnet_lite0", "--no-validation", *sets()]
    of_pictures = complaint(capsys, *pictures, "--output", tmp_path / "wrong", code=2)
    assert "set training.norm_statistics='batch'" in of_pictures
    stack = sets("clip.frames=2", "clip.stride=2", "clip.stack=3", "clip.size=32")
    assert run(*train, "--output", trained, *stack) == 0
    clip = json.loads((trained / "model.json").read_text())["clip"]
    assert clip["mean"] == [128 / 255] * 6
    net = timelift.load(trained)
    assert "3 -> 6 input channel(s), the scaled mean" in str(net.receipt)

    assert run("evaluate", trained, made, "--output", tmp_path / "again.npz") == 0
    stored, again = (read_predictions(path) for path in (trained / "predictions.npz", tmp_path / "again.npz"))
    np.testing.assert_allclose(again.clip_logits, stored.clip_logits, atol=1e-5)
    capsys.readouterr()

    one = made / "test/left/clip 0.mkv"
    assert run("predict", trained, one, made / "test" / "right", "--top", 1) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["video"] for row in rows} == {str(p) for p in (one, *sorted((made / "test/right").iterdir()))}
    assert float(rows[0]["end_seconds"]) == pytest.approx(5 / 25)
    assert run("predict", trained, videos / "test/left/clip 0.mkv") == 1
    assert "make it by `timelift flow`" in capsys.readouterr().err


def test_other_videos_are_not_added_to_flow_that_was_begun(tmp_path, capsys):
    made = tmp_path / "flow"
    assert run("flow", write_gliding(tmp_path / "a", 1, 2), "--output", made, "--workers", 1) == 0
    (made / "manifest.csv").unlink()
    others = write_gliding(tmp_path / "b", 1, 2)
    assert "other videos" in complaint(capsys, "flow", others, "--output", made, code=2)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "frames"), [("flow_single", 1), ("flow_stack", 10), ("flow_slow", 10)])
def test_the_flow_systems_train_on_it(tmp_path, system, frames):
    videos, made, trained = write_gliding(tmp_path / "videos", 1, 12), tmp_path / "flow", tmp_path / "run"
    assert run("flow", videos, "--output", made, "--workers", 1) == 0
    settings = sets(f"clip.frames={frames}", "clip.stride=1", "clip.size=48")
    train = ["train", made, "--variant", system, "--output", trained, "--no-validation", *settings]
    assert run(*train) == 0
    first = next(timelift.load(trained).parameters())
    assert first.shape[1] == (20 if system == "flow_stack" else 2)
    assert read_predictions(trained / "predictions.npz").labels.shape == (2,)
