"""Videos opened again and again leave memory flat: each container is closed, none waits for the collector."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from test_decode import noise, write_video
from timelift.data.decode import decode_frames
from timelift.data.examine import examine
from timelift.records import DataError

MIB = 2**20


def resident_bytes() -> int:
    """What of this process lies in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def growth_bytes(paths: list[Path], opens: int, warm_up: int) -> int:
    """How much resident memory grows over so many opens of these files in turn, after a warm-up."""
    for turn in range(warm_up + opens):
        if turn == warm_up:
            before = resident_bytes()
        path = paths[turn % len(paths)]
        try:
            decode_frames(path, [1, 0], short_side=17)
        except DataError:
            examine(path)  # a file that cannot be read must leave nothing behind either
    return resident_bytes() - before


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    sound = write_video(tmp_path / "colour.mkv", noise(3, channels=3), pix_fmt="bgr0")
    lossy = write_video(tmp_path / "lossy.mp4", noise(3, channels=3), codec="mpeg4", pix_fmt="yuv420p")
    cut = tmp_path / "cut.avi"
    whole = write_video(tmp_path / "whole.avi", noise(3, channels=3), codec="mpeg4", pix_fmt="yuv420p")
    cut.write_bytes(whole.read_bytes()[: np.random.default_rng(0).integers(200, 600)])
    return [sound, lossy, cut]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_opening_videos_leaves_memory_flat(paths):
    assert growth_bytes(paths, opens=300, warm_up=100) < 4 * MIB


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_opens_leave_memory_flat(shared):
    videos = sorted((shared / "data/ucf101-original/videos").rglob("*.avi"))
    grown = growth_bytes(videos, opens=10_000, warm_up=300)
    print(f"10,000 opens: {grown / MIB:+.1f} MiB")
    assert grown < 16 * MIB
