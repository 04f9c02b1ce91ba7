"""kill -9, and the same command again: nothing repeated, nothing lost, the same numbers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from timelift.comparison.store import Store
from timelift.records.predictions import read_predictions
from videos_tiny import settings, untimed_table, write_net, write_videos

pytestmark = pytest.mark.slow


def started(tmp_path: Path, *words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "timelift", *map(str, words)]
    surroundings = os.environ | {"TIMELIFT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said.txt").open("a") as said:
        return subprocess.Popen(command, env=surroundings, stdout=said, stderr=subprocess.STDOUT)


def ended(tmp_path: Path, *words: object) -> None:
    process = started(tmp_path, *words)
    assert process.wait(timeout=300) == 0, (tmp_path / "said.txt").read_text()


def wait_until(true, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_killed_worker_costs_its_run_only_and_the_study_ends_by_itself(tmp_path):
    data, net = write_videos(tmp_path / "videos", per_class=3), write_net(tmp_path)

    def words(output: str) -> list[object]:
        variants = [word for rule in ("Framewise()", "Inflate()") for word in ("--variant", f"{net} {rule}")]
        return ["compare", data, *variants, "--seeds", 3, "--selection", "last", "--workers", 2, "--output",
                tmp_path / output, *settings(), "--set", "training.epochs=15"]  # fmt: skip

    ended(tmp_path, *words("calm"))
    process = started(tmp_path, *words("killed"))
    store = tmp_path / "killed" / "study.sqlite"

    def running() -> list[int]:
        cells = Store(store.parent).status() if store.exists() else ()
        done = sum(cell.state == "done" for cell in cells)
        return [cell.pid for cell in cells if cell.state == "running"] if 1 <= done <= 3 else []

    wait_until(running)
    os.kill(running()[0], signal.SIGKILL)
    assert process.wait(timeout=300) == 0, (tmp_path / "said.txt").read_text()
    assert all(cell.state == "done" for cell in Store(store.parent).status())
    calm, killed = (answers(tmp_path / name) for name in ("calm", "killed"))
    assert killed.keys() == calm.keys()
    assert all(np.array_equal(killed[run], calm[run]) for run in calm)


def answers(study: Path) -> dict[str, np.ndarray]:
    files = study.glob("runs/*/seed-*/predictions.npz")
    return {str(path.relative_to(study)): read_predictions(path).clip_logits for path in files}


def test_a_killed_comparison_goes_on_and_ends_with_the_undisturbed_table(tmp_path):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)

    def words(output: str) -> list[object]:
        rules = ("Framewise()", "Inflate(frames=3)")
        variants = [word for rule in rules for word in ("--variant", f"{net} {rule}")]
        return ["compare", data, *variants, "--seeds", 3, "--selection", "last", "--workers", 2, "--output",
                tmp_path / output, *settings(), "--set", "training.epochs=25"]  # fmt: skip

    ended(tmp_path, *words("calm"))
    process = started(tmp_path, *words("killed"))
    store_file = tmp_path / "killed" / "study.sqlite"

    def half_way() -> bool:
        states = [cell.state for cell in Store(store_file.parent).status()] if store_file.exists() else []
        return states.count("done") >= 2 and "running" in states

    wait_until(half_way)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = sorted((tmp_path / "killed").glob("runs/*/*/run.json"))
    written = [path.stat().st_mtime_ns for path in finished]
    ended(tmp_path, *words("killed"))
    assert [path.stat().st_mtime_ns for path in finished] == written
    assert all(cell.state == "done" for cell in Store(store_file.parent).status())
    assert untimed_table(tmp_path / "killed") == untimed_table(tmp_path / "calm")


def test_a_killed_training_ends_with_the_bits_of_an_undisturbed_one(tmp_path):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)

    def words(output: str) -> list[object]:
        return ["train", data, "--variant", f"{net} Factorize(frames=3)", "--no-validation", "--output",
                tmp_path / output, *settings(), "--set", "training.epochs=40"]  # fmt: skip

    ended(tmp_path, *words("calm"))
    process = started(tmp_path, *words("killed"))
    log = tmp_path / "killed" / "log.csv"
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 8)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "run.json").exists()
    ended(tmp_path, *words("killed"))
    calm, killed = (load_file(tmp_path / name / "weights.safetensors") for name in ("calm", "killed"))
    assert calm.keys() == killed.keys()
    assert all(calm[name].equal(killed[name]) for name in calm)
