"""What predicts: the network of a run's folder, or a file that was exported from one."""

from pathlib import Path

import torch

from timelift.deploy.exported import ExportedModel, open_exported
from timelift.deploy.files import SUFFIXES
from timelift.lifting import VideoModel
from timelift.records import UsageError
from timelift.runs.pixels import ClipTransform
from timelift.runs.saved import load
from timelift.runs.surroundings import pick_device


def load_predictor(path: Path, device: str) -> tuple[VideoModel | ExportedModel, torch.device]:
    """The network, with `.classes`, `.several_labels` and `.transform`, and the device that it is on.

    device: auto, cpu, cuda or mps; a file runs on the CPU.

    Raises:
        DataError: for what is neither a finished run nor an exported file.
        UsageError: for a file on another device, one of a stream's step, or one that knows no classes.
    """
    if path.is_dir() or path.suffix not in SUFFIXES.values():
        where = pick_device(device)
        return load(path).to(where), where
    if device not in ("auto", "cpu"):
        raise UsageError(f"--device {device}: an exported file runs on the CPU here")
    model = open_exported(path)
    if not isinstance(model, ExportedModel):
        raise UsageError(f"{path} is one step of a stream: export the run without --step to predict")
    if model.facts.clip is None:
        raise UsageError(f"{path} is of a network that no run has trained: it has no classes to name")
    model.transform = ClipTransform(model.facts.clip, lambda pixels: pixels)  # normalised inside
    return model, torch.device("cpu")
