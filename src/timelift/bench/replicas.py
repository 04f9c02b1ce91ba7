"""Optimiser steps of several replicas at once, against the same steps one network after the other."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from timelift.records import Optimisation
from timelift.timing import Contest, Outcome, measure
from timelift.training.groups import build_optimizer, complete_groups
from timelift.training.replicas import losses_and_hits
from timelift.training.stacked import Stacked
from timelift.variants import build_variant, parse_variant

TURNS = 9
CHOICES = Optimisation(optimizer="sgd", learning_rate=1e-3, weight_decay=0.0, label_smoothing=0.0)


@dataclass(frozen=True)
class Setting:
    """So many replicas of a LeNet, on batches of clips (1, frames, side, side)."""

    variant: str
    replicas: int
    batch: int = 20
    frames: int = 30
    side: int = 28


SETTINGS = tuple(
    Setting(variant, replicas)
    for variant in ("lenet5_3d(channels=(6, 16))", "lenet5_3dttn(channels=(6, 16))")
    for replicas in (2, 8, 30)
)


def timed(turns: int, device: torch.device) -> Iterator[Outcome]:
    """A step of all replicas, both ways, in every setting: fewer of them on a CPU, where it is slower."""
    for setting in SETTINGS:
        if device.type != "cpu" or setting.replicas <= 8:
            yield measure(contest(setting, device), turns)


def contest(setting: Setting, device: torch.device) -> Contest:
    """One step of every replica, from the same weights and clips."""
    generator = torch.Generator().manual_seed(0)
    shape = (setting.replicas, setting.batch, 1, setting.frames, setting.side, setting.side)
    clips = torch.randn(shape, generator=generator).to(device)
    labels = torch.randint(10, shape[:2], generator=generator).to(device)
    models = [_built(setting, seed).to(device).train() for seed in range(setting.replicas)]
    return Contest(
        f"{setting.variant}, {setting.replicas} replicas",
        {
            "one by one": one_by_one(copy.deepcopy(models), clips, labels),
            "at once": at_once(copy.deepcopy(models), clips, labels),
        },
    )


def one_by_one(models: list[nn.Module], clips: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """A call that takes a step with every network; gives their losses (R,)."""
    optimizers = [build_optimizer(model, _groups(model), CHOICES) for model in models]

    def step() -> Tensor:
        losses = []
        for model, optimizer, clip, own in zip(models, optimizers, clips, labels, strict=True):
            loss = cross_entropy(model(clip), own)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return _settled(torch.stack(losses))

    return step


def at_once(models: list[nn.Module], clips: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """A call that takes a step with all networks together; gives their losses (R,)."""
    stacked = Stacked(models)
    optimizer = stacked.optimizer(_groups(models[0]), CHOICES)

    def step() -> Tensor:
        losses, _ = losses_and_hits(stacked(clips), labels, 0.0)
        optimizer.zero_grad(set_to_none=True)
        (losses / labels.shape[1]).sum().backward()
        optimizer.step()
        return _settled(losses.detach() / labels.shape[1])

    return step


def _built(setting: Setting, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_variant(parse_variant(setting.variant), 10, 1, setting.frames, setting.side)


def _groups(model: nn.Module) -> dict[str, str]:
    return complete_groups(model, model.parameter_groups())  # type: ignore[operator]


def _settled(losses: Tensor) -> Tensor:
    return losses.cpu()  # on a GPU the calls return before the work is done; this waits for it
