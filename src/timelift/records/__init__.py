"""What the rooms hand each other: plain frozen dataclasses, no torch."""

from timelift.records.errors import DataError, DiskFull, TimeliftError, UsageError
from timelift.records.predictions import Predictions
from timelift.records.recipe import Augmentation, ClipFormat, Optimisation, Recipe, Views
from timelift.records.run import Run, RunState
from timelift.records.video import Manifest, Video

__all__ = [
    "Augmentation",
    "ClipFormat",
    "DataError",
    "DiskFull",
    "Manifest",
    "Optimisation",
    "Predictions",
    "Recipe",
    "Run",
    "RunState",
    "TimeliftError",
    "UsageError",
    "Video",
    "Views",
]
