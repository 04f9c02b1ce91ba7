"""An interrupted run goes on to the same bits, and nothing is ever half-written."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from timelift.records import DataError, UsageError
from timelift.training import checkpoint, discard_checkpoint
from training_tiny import GROUPS, TinyClips, evenly, run, same_bytes, tiny_network, weights

EVERYTHING = {
    "epochs": 6,
    "ema": 0.9,
    "mixup": 0.5,
    "dropout": 0.3,
    "schedule": "plateau",
    "plateau_patience": 1,
    "warmup_epochs": 1.5,
    "freeze_kept_steps": 5,
    "accumulate": 2,
    "batch_size": 2,
    "clip_gradient": 1.0,
    "label_smoothing": 0.1,
}


class Stop(Exception):
    pass


def stop_at(epoch, step):
    def progress(event):
        if (event.epoch, event.step) == (epoch, step):
            raise Stop

    return progress


def log_without_seconds(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open() as file:
        return [row[:-2] for row in csv.reader(file)]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("minutes", [10.0, 0.0], ids=["epochs", "every step"])
@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_weights_are_bit_equal(tmp_path, optimizer, minutes, workers):
    changes = EVERYTHING | {"optimizer": optimizer, "workers": workers}
    whole, result = run(tmp_path / "whole", clips=TinyClips(11), validate=evenly, **changes)
    for place in ((1, 1), (2, 3), (4, 2)):
        with pytest.raises(Stop):
            run(
                tmp_path / "parts",
                clips=TinyClips(11),
                validate=evenly,
                progress=stop_at(*place),
                checkpoint_minutes=minutes,
                **changes,
            )
    parts, resumed = run(tmp_path / "parts", clips=TinyClips(11), validate=evenly, **changes)
    assert same_bytes(weights(whole), weights(parts))
    assert log_without_seconds(tmp_path / "whole") == log_without_seconds(tmp_path / "parts")
    assert (resumed.selection, resumed.best_epoch) == (result.selection, result.best_epoch)
    assert [row.loss for row in resumed.history] == [row.loss for row in result.history]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_last_weights_are_bit_equal_too(tmp_path, precision):
    """Without validation nothing but the last step's weights count."""
    changes = {"epochs": 4, "ema": 0.9, "precision": precision}
    whole, _ = run(tmp_path / "whole", tiny_network("batch"), **changes)
    with pytest.raises(Stop):
        run(tmp_path / "parts", tiny_network("batch"), progress=stop_at(3, 2), **changes)
    parts, _ = run(tmp_path / "parts", tiny_network("batch"), **changes)
    assert same_bytes(weights(whole), weights(parts))


def test_a_mid_epoch_checkpoint_does_not_train_a_step_twice(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, epochs=1, batch_size=2, progress=stop_at(1, 4), checkpoint_minutes=0.0)
    clips = TinyClips()
    run(tmp_path, epochs=1, batch_size=2, clips=clips)
    assert len(clips.asked) == 2


def test_a_finished_run_answers_without_training(tmp_path):
    model, result = run(tmp_path, validate=evenly)
    clips = TinyClips()
    again, same = run(tmp_path, validate=evenly, clips=clips)
    assert not clips.asked
    assert same == result
    assert same_bytes(weights(model), weights(again))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_rows_past_the_checkpoint_are_cut(tmp_path):
    run(tmp_path)
    rows = log_without_seconds(tmp_path)
    with (tmp_path / "log.csv").open("a") as file:
        file.write("3,7,half a row")
    run(tmp_path)
    assert log_without_seconds(tmp_path) == rows


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"learning_rate": 0.2}, r"recipe.training.learning_rate was 0.1, now 0.2"),
        ({"seed": 6}, r"seed was 5, now 6"),
        ({"clips": TinyClips(9)}, r"training clips was 8, now 9"),
        ({"groups": GROUPS | {"0.bias": "new"}}, r"group 0.bias was kept, now new"),
    ],
)
def test_another_runs_checkpoint_is_refused_naming_the_difference(tmp_path, changes, line):
    run(tmp_path, epochs=1)
    with pytest.raises(UsageError, match=line):
        run(tmp_path, **({"epochs": 1} | changes))


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    run(tmp_path)
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="delete it to train from the start"):
        run(tmp_path)
    discard_checkpoint(tmp_path)
    run(tmp_path)


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    run(tmp_path, epochs=1)
    before = (tmp_path / checkpoint.NAME).read_bytes()

    def crash(state, file):
        file.write(b"half")
        raise OSError("broken off here")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(OSError, match="broken off here"):
        checkpoint.write_checkpoint({}, tmp_path)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_a_checkpoint_appears_by_one_rename(tmp_path, monkeypatch):
    run(tmp_path, epochs=1)
    before = (tmp_path / checkpoint.NAME).read_bytes()

    def crash(source, target):
        raise OSError("killed here")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="killed here"):
        checkpoint.write_checkpoint({"another": 1}, tmp_path)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_float16_has_a_loss_scale_and_keeps_it(tmp_path, precision):
    run(tmp_path, epochs=1, precision=precision)
    scaler = torch.load(tmp_path / checkpoint.NAME, weights_only=True)["scaler"]
    assert ("scale" in scaler) == (precision == "float16")


@pytest.mark.slow
def test_kill_9_and_again(tmp_path):
    program = [sys.executable, str(Path(__file__).with_name("training_tiny.py"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([*program, str(tmp_path / "whole"), "2", "slow"], env=environment, check=True)
    parts, kills = tmp_path / "parts" / "slow", 0
    for _ in range(2):
        process = subprocess.Popen([*program, str(tmp_path / "parts"), "2", "slow"], env=environment)
        begun = _epochs(parts)
        while process.poll() is None and _epochs(parts) < begun + 20:
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 2
    assert not (parts / "result-0.pt").exists()
    subprocess.run([*program, str(tmp_path / "parts"), "2", "slow"], env=environment, check=True)
    whole, again = (torch.load(tmp_path / name / "slow" / "result-0.pt") for name in ("whole", "parts"))
    assert same_bytes(whole["weights"], again["weights"])
    assert log_without_seconds(tmp_path / "whole" / "slow") == log_without_seconds(parts)


def _epochs(folder: Path) -> int:
    return len((folder / "log.csv").read_text().splitlines()) if (folder / "log.csv").exists() else 0


def test_a_checkpoint_of_a_release_that_knew_fewer_fields_is_gone_on_with(tmp_path):
    run(tmp_path, epochs=1)
    path = tmp_path / checkpoint.NAME
    state = torch.load(path, weights_only=True)
    del state["identity"]["recipe.training.steps"]
    torch.save(state, path)
    with pytest.raises(UsageError, match=r"recipe\.training\.steps was 0, now 3"):
        run(tmp_path, epochs=1, steps=3)
    _, resumed = run(tmp_path, epochs=1)
    assert len(resumed.history) == 1
