"""Parameter groups: what is new, lifted or kept, at which rate each learns, and what decays."""

from collections.abc import Mapping

from torch import nn, optim

from timelift.records import Optimisation, UsageError

GROUPS = ("new", "lifted", "kept")


def complete_groups(model: nn.Module, groups: Mapping[str, str]) -> dict[str, str]:
    """The group of every parameter by every name it has (a weight shared by two layers has two).

    Raises:
        UsageError: naming parameters without a group, unknown names, or groups that do not exist.
    """
    every_name = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    first_names = dict(model.named_parameters())
    wrong = [f"{name}={group!r}" for name, group in groups.items() if group not in GROUPS]
    for problem, found in (
        ("without a group", [name for name in first_names if name not in groups]),
        ("in the groups but not in the network", [name for name in groups if name not in every_name]),
        ("whose group is not new, lifted or kept", wrong),
    ):
        if found:
            more = "" if len(found) <= 5 else f" and {len(found) - 5} more"
            raise UsageError(f"groups: {len(found)} parameter(s) {problem}: {', '.join(found[:5])}{more}")
    group_of = {id(parameter): groups[name] for name, parameter in first_names.items()}
    return {name: group_of[key] for name, key in every_name.items()}


def parameter_groups(model: nn.Module, groups: Mapping[str, str], choices: Optimisation) -> list[dict]:
    """The optimiser's groups: up to one with and one without weight decay for each of new, lifted, kept.

    Parameters that came with requires_grad=False stay out for good.

    Raises:
        UsageError: if no parameter is left.
    """
    collected: dict[tuple[str, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(module_name, recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                decays = choices.decay_norms_and_biases or not is_norm_or_bias(module, name, parameter)
                collected.setdefault((groups[name], decays), []).append(parameter)
    if not collected:
        raise UsageError("the network has no parameter that may learn: every one has requires_grad=False")
    rates = _rates(choices)
    return [
        {
            "params": collected[group, decays],
            "name": group,
            "factor": rates[group],
            "weight_decay": choices.weight_decay if decays else 0.0,
        }
        for group in GROUPS
        for decays in (True, False)
        if (group, decays) in collected
    ]


def is_norm_or_bias(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a bias or a norm's scale, which weight decay would only pull off its task.

    A module whose parameters do not rest at zero says so: `decays = False`, as the motions of Transform.
    """
    norm = isinstance(module, nn.LayerNorm | nn.RMSNorm)  # the norms whose scale can have more than one axis
    exempt = norm or not getattr(module, "decays", True)
    return exempt or parameter.ndim <= 1 or name.split(".")[-1].endswith("bias")


def build_optimizer(model: nn.Module, groups: Mapping[str, str], choices: Optimisation) -> optim.Optimizer:
    """The recipe's optimiser; its state for a parameter is born at that parameter's first gradient."""
    return optimizer_of(parameter_groups(model, groups, choices), choices)


def optimizer_of(grouped: list[dict], choices: Optimisation) -> optim.Optimizer:
    """The recipe's optimiser over groups as `parameter_groups` gives them."""
    if choices.optimizer == "sgd":
        return optim.SGD(grouped, lr=choices.learning_rate, momentum=choices.momentum)
    return optim.AdamW(grouped, lr=choices.learning_rate)


def set_rates(optimizer: optim.Optimizer, learning_rate: float) -> None:
    """Give every group the learning rate times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]


def group_rates(choices: Optimisation, learning_rate: float, frozen: frozenset[str]) -> dict[str, float]:
    """The learning rate of new, lifted and kept, 0 while frozen: what the log shows."""
    return {
        name: 0.0 if name in frozen else learning_rate * factor for name, factor in _rates(choices).items()
    }


def _rates(choices: Optimisation) -> dict[str, float]:
    return {"new": choices.new_rate, "lifted": choices.lifted_rate, "kept": choices.kept_rate}
