"""The receipt of a lift: what became of every layer, so that nothing is skipped in silence."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timelift.networks.trace import Layer, other_kernels


@dataclass(frozen=True)
class Converted:
    """One layer that a rule took."""

    layer: str
    rule: str
    stage: int
    kept: tuple[str, ...]  # tensors that are the image network's
    lifted: tuple[str, ...]  # tensors that follow from them, with a new slice in time
    new: tuple[str, ...]  # tensors drawn at random
    parameters_before: int
    parameters_after: int
    padding: str


@dataclass(frozen=True)
class Receipt:
    """All of them, and what was left as it is.

    framewise: convolutions that run on every frame alone. notes: where the weights came from, strides that
    followed, what is drawn or normalised per frame, what the traced forward never ran.
    """

    converted: tuple[Converted, ...]
    framewise: tuple[str, ...]
    parameters_before: int
    parameters_after: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = [
            f"{row.layer}: {row.rule}; {row.parameters_before:,} -> {row.parameters_after:,} parameters; "
            f"padding in time: {row.padding}; {_tensors(row)}"
            for row in self.converted
        ]
        rows.append(f"{len(self.framewise)} convolution(s) run on every frame alone")
        rows += self.notes
        rows.append(f"{self.parameters_before:,} -> {self.parameters_after:,} parameters")
        return "\n".join(rows)


def _tensors(row: Converted) -> str:
    parts = (("kept", row.kept), ("lifted", row.lifted), ("new", row.new))
    return "; ".join(_listed(word, list(names)) for word, names in parts if names) or "no tensors"


def origins(module: nn.Module, build: Callable[[], nn.Module], source: nn.Module) -> dict[str, str]:
    """Each parameter's origin: "kept" (equal to a tensor of the source), "new" (drawn at random), "lifted".

    Lifted is what comes out the same when it is built again, with other random numbers, and is not the
    source's: a new slice in time.
    """
    own = list(source.parameters())
    parameters = dict(module.named_parameters())
    origin = {name: "kept" for name, parameter in parameters.items() if any(_same(parameter, p) for p in own)}
    if len(origin) < len(parameters):
        devices = {p.device.index for p in parameters.values() if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)):
            torch.default_generator.manual_seed(torch.initial_seed() ^ 0x5EED)
            again = dict(build().named_parameters())
        for name, parameter in parameters.items():
            origin.setdefault(name, "lifted" if _same(parameter, again[name]) else "new")
    return {name: origin[name] for name in parameters}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and (one.is_meta or torch.equal(one, other))


def left_alone(
    net: nn.Module, layers: tuple[Layer, ...], taken: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The convolutions that stay on frames, and notes on what a reader may not expect."""
    framewise = tuple(layer.name for layer in layers if layer.is_conv and layer.name not in taken)
    ran = {id(layer.module) for layer in layers}
    convs = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    not_run = [name for name, m in convs.items() if id(m) not in ran]
    notes = [
        _listed("convolutions that the traced forward never ran, left alone", not_run),
        _listed("normalised per frame", _of_kind(net, r"(Group|Layer|Instance)Norm\w*")),
        _listed("gates per frame", [layer.name for layer in layers if layer.gate and layer.is_conv]),
        _listed(
            "several maps a frame, left alone", [x.name for x in layers if x.is_conv and x.per_frame > 1]
        ),
        _listed("kernels that are no Conv2d, left alone", list(other_kernels(net))),
        _listed("dropout drawn per frame", _dropping(net)),
    ]
    return framewise, tuple(note for note in notes if note)


def _of_kind(net: nn.Module, pattern: str) -> list[str]:
    return [name for name, m in net.named_modules() if re.fullmatch(pattern, type(m).__name__)]


def _dropping(net: nn.Module) -> list[str]:
    kinds = dict.fromkeys(_of_kind(net, r"Dropout\w*|DropPath|StochasticDepth|DropBlock\w*"))
    return [name for name in kinds if _rate(net.get_submodule(name)) > 0]


def _rate(module: nn.Module) -> float:
    return float(getattr(module, "p", None) or getattr(module, "drop_prob", None) or 0.0)


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{what}: {shown}"
