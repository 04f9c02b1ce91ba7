"""One traced forward of an image network: its layers in order of execution, with what places ask about them.

Registration order is not execution order (RepVGG, MobileOne, HRNet), so places count what was run.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timelift.records.errors import UsageError

_SIZES = (224, 112, 64, 32, 28)  # tried in turn for a network that does not say its input size
_GATE = re.compile(
    r"(SEModule|SELayer|SqueezeExcit\w*|EffectiveSEModule|GatherExcite|GlobalContext"
    r"|(Light)?(Channel|Spatial)Attn|(Light)?CbamModule)"
)  # by class: timm's and torchvision's names
_STAGE = re.compile(r"(?:^|\.)(?:layer|stages?|blocks?|denseblock|features\.denseblock)[._]?(\d+)(?:\.|$)")


@dataclass(frozen=True)
class Layer:
    """A module that took a map (N, C, H, W) and gave a map, as it was run first."""

    name: str
    module: nn.Module
    input_size: tuple[int, int]  # H, W
    output_size: tuple[int, int]
    stage: int  # from 1; 0 is the stem
    gate: bool  # inside a squeeze-excitation or attention gate
    calls: int

    @property
    def is_conv(self) -> bool:
        """Whether it is a Conv2d or a subclass."""
        return isinstance(self.module, nn.Conv2d)

    @property
    def is_pointwise(self) -> bool:
        """Whether its spatial kernel is 1 x 1."""
        return self.is_conv and self.module.kernel_size == (1, 1)

    @property
    def is_head(self) -> bool:
        """Whether it takes a whole map to one place, as a classifier does."""
        return self.output_size == (1, 1) and self.is_conv and not any(self.module.padding)  # type: ignore[arg-type]

    @property
    def on_maps(self) -> bool:
        """Whether it stands in the trunk: a map comes in, and it is neither gate nor head."""
        return not self.gate and self.input_size != (1, 1) and not self.is_head


def trace(net: nn.Module, example: Tensor | None = None) -> tuple[tuple[Layer, ...], Tensor]:
    """The modules that took and gave maps, in order of execution, each once; and the frames that were run.

    example: frames (N, C, H, W); without it, zeros of the size that the network names, or of a usual one.

    Raises:
        UsageError: if no forward succeeds; with the network's own error.
    """
    was_training = net.training
    net.eval()
    try:
        return _traced(net, example)
    finally:
        net.train(was_training)


def example_frames(net: nn.Module) -> list[Tensor]:
    """Frames to try a network with: of the size that it names, else of usual sizes."""
    facts = getattr(net, "image_facts", None)
    config = getattr(net, "pretrained_cfg", None) or {}
    size = getattr(facts, "input_size", None) or config.get("input_size")
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    like = next(net.parameters(), torch.empty(0))
    channels = first.in_channels if first is not None else 3
    sizes = [size[-1]] if size else list(_SIZES)
    return [like.new_zeros(1, channels, side, side) for side in sizes]


def _traced(net: nn.Module, example: Tensor | None) -> tuple[tuple[Layer, ...], Tensor]:
    tries = example_frames(net) if example is None else [example]
    problem: Exception | None = None
    for frames in tries:
        try:
            return _with_stages(_run(net, frames)), frames
        except Exception as error:  # the network's own, kept for the message
            problem = problem or error
    shapes = ", ".join(str(tuple(t.shape)) for t in tries)
    raise UsageError(
        f"{type(net).__name__} does not take frames of {shapes} ({problem}); "
        "give lift(..., example=frames) of the shape (N, C, H, W) that it takes"
    ) from problem


def _run(net: nn.Module, frames: Tensor) -> list[dict]:
    names = {module: name for name, module in reversed(list(net.named_modules())) if name}
    gates = [name for name, module in net.named_modules() if name and _is_gate(module)]
    found: dict[str, dict] = {}
    hooks = []

    def before(module: nn.Module, args: tuple) -> None:
        name = names[module]
        if name in found:
            found[name]["calls"] += 1
        elif args and isinstance(args[0], Tensor) and args[0].dim() == 4:
            found[name] = {"name": name, "module": module, "input_size": tuple(args[0].shape[2:]), "calls": 1}

    def after(module: nn.Module, args: tuple, output: object) -> None:
        row = found.get(names[module])
        if row is not None and "output_size" not in row:
            is_map = isinstance(output, Tensor) and output.dim() == 4
            row["output_size"] = tuple(output.shape[2:]) if is_map else None  # type: ignore[union-attr]

    for module in names:
        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with torch.no_grad():
            net(frames)
    finally:
        for hook in hooks:
            hook.remove()
    rows = [row for row in found.values() if row.get("output_size")]
    for row in rows:
        row["gate"] = any(row["name"] == g or row["name"].startswith(g + ".") for g in gates)
    return rows


def _is_gate(module: nn.Module) -> bool:
    return _GATE.fullmatch(type(module).__name__) is not None


def _with_stages(rows: list[dict]) -> tuple[Layer, ...]:
    convs = [row for row in rows if isinstance(row["module"], nn.Conv2d)]
    named = {m.group(1) for row in convs if (m := _STAGE.search(row["name"]))}
    if len(named) > 1:
        numbers = {number: i + 1 for i, number in enumerate(sorted(named, key=int))}
        stage_of = {row["name"]: _named_stage(row["name"], numbers) for row in rows}
        last = max(stage_of.values())
        seen = 0
        for row in rows:  # what stands between or behind stages belongs to the one before it
            seen = max(seen, stage_of[row["name"]])
            stage_of[row["name"]] = min(stage_of[row["name"]] or seen, last)
    else:
        sizes = sorted({row["output_size"] for row in convs if row["output_size"] != (1, 1)}, reverse=True)
        stage_of = {row["name"]: sizes.index(row["output_size"]) + 1 if row["output_size"] in sizes else len(sizes)
                    for row in rows}
    return tuple(Layer(stage=stage_of[row["name"]], **row) for row in rows)


def _named_stage(name: str, numbers: dict[str, int]) -> int:
    match = _STAGE.search(name)
    return numbers.get(match.group(1), 0) if match else 0
