"""wake: a network fresh from its constructor hides layers; this one answers for each of them.

Zero scales of last batch norms, layer scales of 1e-6 and default statistics make many equalities hold
whatever stands in the network: a test on such a network cannot fail.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from timelift.records.errors import UsageError

_ASLEEP = 1e-4  # a scale that starts here or below
_AWAKE = 1e-2  # the least relative difference between the answers to two inputs


def wake(net: nn.Module, frames: Tensor, seed: int = 0) -> nn.Module:
    """A copy in float64 and eval, with scales that are felt and statistics that are real.

    frames: (N, C, H, W) with N >= 2; they give the batch norms their statistics.

    Raises:
        UsageError: if two inputs still get the same answer, or fewer than two came.
    """
    if len(frames) < 2:
        raise UsageError(f"wake wants at least 2 frames to tell apart, {len(frames)} came")
    woken = copy.deepcopy(net).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in woken.modules():
            scale(module, generator)
        _measure(woken, frames.double())
        _check(woken, frames.double())
    return woken


def scale(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the scales and shifts of a module itself, where it is a batch norm or they start asleep."""
    for name, parameter in module.named_parameters(recurse=False):
        if isinstance(module, _BatchNorm):
            if name == "weight":
                parameter.uniform_(0.5, 1.5, generator=generator)
            else:
                parameter.normal_(0, 0.1, generator=generator)
        elif _is_scale(name, parameter) and parameter.abs().max() <= _ASLEEP:
            parameter.uniform_(0.2, 0.5, generator=generator)


def _is_scale(name: str, parameter: Tensor) -> bool:
    """A number, or one for each channel, that is no shift."""
    shift = any(word in name for word in ("bias", "beta", "shift", "token", "pos"))
    return not shift and parameter.numel() == max(parameter.shape, default=1)


def _measure(net: nn.Module, frames: Tensor) -> None:
    """One forward with the batch norms, and only they, in training: dropout would blur what they see."""
    net.eval()
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # type: ignore[assignment]  # PyTorch's word for the plain average
        norm.train()
    net(frames)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()


def _check(net: nn.Module, frames: Tensor) -> None:
    one, other = net(frames[:1]), net(frames[1:2])
    difference = float((one - other).abs().max() / one.abs().max())
    if not difference > _AWAKE:
        raise UsageError(
            f"{type(net).__name__} still sleeps: two inputs' answers differ by {difference:.1e} (relative), "
            f"and no law is worth testing under {_AWAKE}"
        )
