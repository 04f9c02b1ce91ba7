"""Weights held in bounds after every optimiser step, as Toronto's ImageNet networks were trained.

Max norm: Srivastava et al. 2014, Dropout, section 5.1. Both bounds are on the weights into one unit: a row,
or a filter. What is frozen stays as it is.
"""

import torch
from torch import Tensor, nn

from timelift.records import Optimisation


@torch.no_grad()
def constrain(model: nn.Module, choices: Optimisation) -> None:
    """Shrink what is above `max_norm`, and bring the filters of 1x1 convolutions to norm 1, in place."""
    if choices.max_norm > 0:
        for weight in _learning(_dense(model)):
            weight.mul_((choices.max_norm / _norms(weight)).clamp(max=1.0))
    if choices.unit_norm:
        for weight in _learning(_pointwise(model)):
            weight.div_(_norms(weight))


def constraint_notes(model: nn.Module, choices: Optimisation) -> list[str]:
    """A sentence for each bound that the network has no layer for."""
    notes = []
    if choices.max_norm > 0 and not _dense(model):
        notes.append(f"max_norm={choices.max_norm} changed nothing: the network has no fully connected layer")
    if choices.unit_norm and not _pointwise(model):
        notes.append("unit_norm changed nothing: the network has no 1x1 convolution")
    return notes


def _dense(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, nn.Linear)]


def _pointwise(model: nn.Module) -> list[Tensor]:
    """The weights of 1x1 and 1x1x1 convolutions: (C', C/groups, 1, 1) or (C', C/groups, 1, 1, 1)."""
    convolutions = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    return [weight for weight in convolutions if weight[0, 0].numel() == 1]


def _learning(weights: list[Tensor]) -> list[Tensor]:
    return [weight for weight in weights if weight.requires_grad]


def _norms(weight: Tensor) -> Tensor:
    """(units, ...) -> (units, 1 ...): each unit's L2 norm, never zero."""
    norms = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)
    return norms.clamp(min=torch.finfo(weight.dtype).tiny)
