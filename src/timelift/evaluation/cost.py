"""What a network costs: parameters, multiply-adds, and seconds as measured here."""

import statistics
import time

import torch
from torch import Tensor, nn

from timelift.evaluation.evaluate import evaluating
from timelift.records import UsageError


def parameters(model: nn.Module) -> int:
    """How many numbers the network learns; a weight that is used twice counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one clip (C, T, H, W), counted in one forward: convolutions and matrix products.

    Half of what PyTorch's counter calls FLOPs; what has no product of weights (norms, activations, pools)
    is not in it, as in the papers.
    """
    from torch.utils.flop_counter import FlopCounterMode

    clip = _clip(model, clip_shape)
    counter = FlopCounterMode(display=False)
    with evaluating(model), torch.no_grad(), counter:
        model(clip)
    return counter.get_total_flops() // 2


def latency(model: nn.Module, clip_shape: tuple[int, ...], forwards: int = 10, budget: float = 1.0) -> float:
    """Seconds of a forward of one clip (C, T, H, W): the median, after one that is not counted.

    It stops after `forwards`, or once they have taken `budget` seconds, so a study can afford it in every
    run. Beside other work on the machine it is as noisy as that work.
    """
    clip = _clip(model, clip_shape)
    with evaluating(model), torch.inference_mode():
        _forward_seconds(model, clip)  # allocations and kernel choices happen here
        times = [_forward_seconds(model, clip)]
        while len(times) < forwards and sum(times) < budget:
            times.append(_forward_seconds(model, clip))
    return statistics.median(times)


def _forward_seconds(model: nn.Module, clip: Tensor) -> float:
    started = time.perf_counter()
    model(clip)
    if clip.is_cuda:
        torch.cuda.synchronize(clip.device)  # the call returns before the work is done
    return time.perf_counter() - started


def _clip(model: nn.Module, clip_shape: tuple[int, ...]) -> Tensor:
    if len(clip_shape) != 4:
        raise UsageError(f"clip shape {tuple(clip_shape)}: wanted (channels, frames, height, width)")
    weight = next(model.parameters(), torch.zeros(1))
    return torch.zeros(1, *clip_shape, device=weight.device, dtype=weight.dtype)
