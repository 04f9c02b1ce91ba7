"""What the benches of studies train: LeNets on digits that move, made on the spot."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.comparison.study import Study
from timelift.data.frames import FrameSource
from timelift.data.video_mnist import Digits, write_dataset
from timelift.records import Augmentation, ClipFormat, Optimisation, Recipe
from timelift.runs.data import PreparedData
from timelift.runs.one_cell import study_data, study_frames
from timelift.runs.study import open_study, prepare_study

VARIANTS = ("lenet5_3d(channels=(6, 16))", "lenet5_3dttn(channels=(6, 16))")
TRAINING = Optimisation(
    optimizer="sgd",
    learning_rate=1e-6,  # timed, not judged; a start from N(0, 1) takes no higher one
    schedule="constant",
    warmup_epochs=0.0,
    weight_decay=0.0,
    epochs=20,
    batch_size=20,
)


@dataclass(frozen=True, eq=False)
class Laid:
    """A study that is ready to run, in a folder that goes away."""

    folder: Path
    study: Study
    data: PreparedData
    frames: FrameSource


@contextmanager
def laid_study(training: Optimisation = TRAINING, videos: int = 50, side: int = 28) -> Iterator[Laid]:
    """A study of LeNets on clips (1, 30, side, side); its videos, frames and runs go away with the block."""
    with tempfile.TemporaryDirectory() as name, _cache_in(Path(name) / "cache"):
        rng = np.random.default_rng(0)
        digits = {
            split: Digits(rng.integers(256, size=(count, 28, 28), dtype=np.uint8), np.arange(count) % 10)
            for split, count in (("train", videos), ("test", 20))
        }
        write_dataset(Path(name) / "videos", digits)
        clip = ClipFormat(frames=30, stride=1, short_side=side, size=side, channels=1)
        still = Augmentation(random_crop=False, flip=0.0, temporal_jitter=False)
        study = Study(
            name="bench",
            data=str(Path(name) / "videos" / "manifest.csv"),
            variants=VARIANTS,
            selection="last",
            linear_probe=False,
            recipe=Recipe(clip=clip, augmentation=still, training=training),
        )
        folder = Path(name) / "study"
        study = open_study(study, folder)
        prepare_study(study, folder, lambda line: None)
        data = study_data(study, folder)
        yield Laid(folder, study, data, study_frames(study, data)[0])


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Frames are cached there, by worker processes too, so that the person's own cache stays as it is."""
    before = os.environ.get("TIMELIFT_CACHE")
    os.environ["TIMELIFT_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TIMELIFT_CACHE"]
        else:
            os.environ["TIMELIFT_CACHE"] = before
