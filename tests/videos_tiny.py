"""Tiny labelled videos, a tiny network, and the settings to train it in seconds."""

import csv
from pathlib import Path

import numpy as np

from timelift.data.encode import encode_grey

NET = """
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 7),
    )
"""

SETTINGS = (
    "clip.frames=4",
    "clip.stride=2",
    "clip.short_side=20",
    "clip.size=16",
    "training.epochs=2",
    "training.batch_size=4",
)


def moving_bar(right: bool, seed: int, frames: int = 12, side: int = 24) -> np.ndarray:
    """A bright bar that moves right, or left, over noise: (T, H, W) uint8."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 60, (frames, side, side), dtype=np.uint8)
    start = int(rng.integers(side))
    for t in range(frames):
        video[t, :, (start + (t if right else -t)) % side] = 255
    return video


def write_videos(root: Path, per_class: int = 6, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """root/{split}/{left,right}/*.mkv; without splits root/{left,right}/*.mkv."""
    for s, split in enumerate(splits or ("",)):
        for label in ("left", "right"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(per_class):
                seed = 1000 * s + 2 * i + (label == "right")
                (folder / f"clip {i}.mkv").write_bytes(encode_grey(moving_bar(label == "right", seed), 25))
    return root


def write_net(folder: Path) -> str:
    """A network file; its name as image networks are named."""
    (folder / "tiny_net.py").write_text(NET)
    return f"{folder / 'tiny_net.py'}:net"


def settings() -> list[str]:
    """As options of the command line."""
    return [word for setting in SETTINGS for word in ("--set", setting)]


def untimed_table(study: Path) -> list[dict[str, str]]:
    """The rows of a study's report.csv, without what a clock says: that differs from run to run."""
    with (study / "report.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if not name.startswith(("latency", "seconds_"))}
            for row in csv.DictReader(file)
        ]
