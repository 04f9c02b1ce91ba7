"""The number format of the forward pass; weights and their updates stay float32."""

from contextlib import AbstractContextManager, nullcontext

import torch

from timelift.records import Optimisation

_LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(choices: Optimisation, device: torch.device) -> AbstractContextManager:
    """What the forward pass runs in."""
    if choices.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_LOW[choices.precision])


def gradient_scaler(choices: Optimisation, device: torch.device) -> torch.amp.GradScaler:
    """Keeps small float16 gradients from vanishing (arXiv:1710.03740); with other formats does nothing."""
    return torch.amp.GradScaler(device.type, enabled=choices.precision == "float16")
