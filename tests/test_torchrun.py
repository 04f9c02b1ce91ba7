"""`torchrun --nproc-per-node 2 -m timelift train` ends where one process with twice the batch ends."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from timelift.records.predictions import read_predictions
from videos_tiny import settings, write_net, write_videos

pytestmark = pytest.mark.slow


def test_two_processes_train_to_the_predictions_of_one_with_twice_the_batch(tmp_path):
    data, net = write_videos(tmp_path / "videos"), write_net(tmp_path)
    surroundings = os.environ | {"TIMELIFT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def answers(output: str, batch: int, launcher: list[str]) -> np.ndarray:
        folder: Path = tmp_path / output
        words = ["-m", "timelift", "train", data, "--variant", f"{net} Inflate(frames=3)", "--no-validation",
                 "--output", folder, *settings(), "--set", f"training.batch_size={batch}",
                 "--set", "training.dropout=0.0", "--set", "training.epochs=6"]  # fmt: skip
        command = [sys.executable, *launcher, *map(str, words)]
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return read_predictions(folder / "predictions.npz").clip_logits

    one = answers("one", 8, [])
    two = answers("two", 4, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])
    other = answers("other", 4, [])
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)
    assert np.abs(other - one).max() > 1e-3  # another batch is felt: the agreement above means something
