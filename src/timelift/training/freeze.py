"""Holding groups still for the first steps: no gradient, no decay, no running statistics."""

from collections.abc import Collection, Mapping

from torch import nn

from timelift.records import Optimisation, UsageError


def frozen_groups(choices: Optimisation, taken: int) -> frozenset[str]:
    """The groups that are held after `taken` optimiser steps."""
    steps = {"lifted": choices.freeze_lifted_steps, "kept": choices.freeze_kept_steps}
    return frozenset(group for group, until in steps.items() if taken < until)


def check_something_learns(
    learning: Collection[str], groups: Mapping[str, str], choices: Optimisation
) -> None:
    """Refuse a start at which every parameter that could learn is frozen.

    Raises:
        UsageError: naming the groups.
    """
    frozen = frozen_groups(choices, 0)
    if all(groups[name] in frozen for name in learning):
        raise UsageError(
            f"every parameter is frozen in the first step ({' and '.join(sorted(frozen))}) and none is new: "
            "lower freeze_lifted_steps or freeze_kept_steps"
        )


def held_statistics(choices: Optimisation, frozen: frozenset[str]) -> frozenset[str]:
    """The groups whose batch norms use their stored statistics and leave them as they are.

    With a few clips a batch, statistics of the batch are noise: a pretrained network's own are better (the
    partial batch norm of Wang et al. 2016, TSN). A network from random weights has no kept group.
    """
    return frozen | {"kept"} if choices.norm_statistics == "pretrained" else frozen


def set_modes(
    model: nn.Module,
    groups: Mapping[str, str],
    frozen: frozenset[str],
    still: frozenset[str],
    learning: Collection[str],
) -> None:
    """Put the model in train mode, except what is frozen.

    A frozen parameter takes no gradient, so the optimiser skips it: no decay, and no state before the thaw.
    A layer with running statistics (or any buffer) of a `still` group is in eval: they stay as they are.
    learning: the names of the parameters that came with requires_grad=True.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning and groups[name] not in frozen)
    model.train()
    owners = buffer_owners(model, groups)
    for name, module in model.named_modules():
        if owners.get(name) in still:
            module.training = False  # this layer alone: a dropout inside it goes on


def buffer_owners(model: nn.Module, groups: Mapping[str, str]) -> dict[str, str]:
    """The group of every layer that holds buffers itself, by the layer's name.

    Its own first parameter says it. A layer without parameters (batch norm with affine=False) belongs to the
    nearest layer around it whose parameters are all of one group; where there is none, to `kept`.
    """
    modules = dict(model.named_modules())
    return {
        name: _owner(modules, name, groups)
        for name, module in modules.items()
        if next(module.buffers(recurse=False), None) is not None
    }


def _owner(modules: dict[str, nn.Module], name: str, groups: Mapping[str, str]) -> str:
    own = [n for n, _ in modules[name].named_parameters(name, recurse=False)]
    if own:
        return groups[own[0]]
    around = name
    while around:
        around = around.rpartition(".")[0]
        found = {groups[n] for n, _ in modules[around].named_parameters(around)}
        if found:
            return found.pop() if len(found) == 1 else "kept"
    return "kept"
