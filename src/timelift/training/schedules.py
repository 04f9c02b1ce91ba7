"""How the learning rate moves: functions of the number of optimiser steps, and the plateau rule."""

import math
from dataclasses import dataclass, replace

from timelift.records import Optimisation
from timelift.training.budget import Budget


def rate_factor(choices: Optimisation, taken: int, budget: Budget) -> float:
    """What the learning rate is multiplied by in the step after `taken` optimiser steps.

    Warm-up rises linearly and reaches 1 with the last step inside `warmup_epochs`; cosine falls from there
    to 0 at the end of the budget (Loshchilov & Hutter, arXiv:1608.03983). `Plateau` comes on top.
    """
    epoch, end = taken / budget.steps_per_epoch, budget.steps / budget.steps_per_epoch
    warm = 1.0
    if choices.warmup_epochs > 0:
        warm = min(1.0, (taken + 1) / (choices.warmup_epochs * budget.steps_per_epoch))
    if choices.schedule == "step":
        return warm * choices.step_factor ** math.floor(epoch / choices.step_epochs)
    if choices.schedule == "cosine" and epoch > choices.warmup_epochs:
        share = (epoch - choices.warmup_epochs) / (end - choices.warmup_epochs)
        return warm * 0.5 * (1 + math.cos(math.pi * share))
    return warm


@dataclass(frozen=True)
class Plateau:
    """The rate times `step_factor` after every `plateau_patience` epochs without a better accuracy."""

    factor: float = 1.0
    waited: int = 0  # epochs since the last better accuracy or the last reduction


def after_check(plateau: Plateau, rose: bool, choices: Optimisation) -> Plateau:
    """The stall rule's state: times `step_factor` after a validation that is not above the one before."""
    return plateau if rose else Plateau(factor=plateau.factor * choices.step_factor)


def after_epoch(plateau: Plateau, better: bool, choices: Optimisation) -> Plateau:
    """The plateau rule's state after an epoch whose validation accuracy was, or was not, the best so far."""
    if better:
        return replace(plateau, waited=0)
    if plateau.waited + 1 < choices.plateau_patience:
        return replace(plateau, waited=plateau.waited + 1)
    return Plateau(factor=plateau.factor * choices.step_factor)
