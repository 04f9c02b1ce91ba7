"""Training: the loop in the open, and its parts, one idea a file."""

from timelift.training.checkpoint import discard_checkpoint
from timelift.training.loading import ClipDataset
from timelift.training.logs import ProgressEvent, progress_bar
from timelift.training.loop import TrainResult, train
from timelift.training.standing import EpochRow

__all__ = [
    "ClipDataset",
    "EpochRow",
    "ProgressEvent",
    "TrainResult",
    "discard_checkpoint",
    "progress_bar",
    "train",
]
