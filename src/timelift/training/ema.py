"""The averaged weights: an exponential moving average of the parameters, with the latest buffers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def start_average(model: nn.Module) -> dict[str, Tensor]:
    """Parameter name -> a copy of it."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float, taken: int) -> None:
    """After optimiser step `taken` (from 1): average = d * average + (1 - d) * weights, in place.

    d = min(decay, (1 + taken) / (10 + taken)), so that the start of a short run is soon forgotten.
    """
    weight = 1 - min(decay, (1 + taken) / (10 + taken))
    for name, parameter in model.named_parameters():
        average[name].lerp_(parameter, weight)


@contextmanager
def averaged(model: nn.Module, average: dict[str, Tensor] | None) -> Iterator[None]:
    """Inside, the model has the averaged weights, and afterwards its own again."""
    if average is None:
        yield
        return
    own = start_average(model)
    put_average(model, average)
    try:
        yield
    finally:
        put_average(model, own)


@torch.no_grad()
def put_average(model: nn.Module, average: dict[str, Tensor]) -> None:
    """Copy averaged weights into the model."""
    for name, parameter in model.named_parameters():
        parameter.copy_(average[name])
