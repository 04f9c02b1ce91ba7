"""One traced forward of an image network: its layers in order of execution, with what places ask about them.

Registration order is not execution order (RepVGG, MobileOne, HRNet), so places count what was run.
"""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from timelift.clip import Clipwise
from timelift.networks.tokens import are_tokens, token_norms, token_size
from timelift.records.errors import UsageError

_SIZES = (224, 112, 64, 32, 28)  # tried in turn for a network that does not say its input size
_GATE = re.compile(
    r"(SEModule|SELayer|SqueezeExcit\w*|EffectiveSEModule|GatherExcite|GlobalContext"
    r"|(Light)?(Channel|Spatial)Attn|(Light)?CbamModule)"
)  # by class: timm's and torchvision's names
_STAGE = re.compile(r"(?:^|\.)(?:layer|stages?|blocks?|denseblock|features\.denseblock)[._]?(\d+)(?:\.|$)")


@dataclass(frozen=True)
class Layer:
    """A module that took a map (N, C, H, W) and gave a map, or a norm on tokens, as it was run first.

    fed_by: the modules whose answer it took, untouched, in any of its calls; "" is the network's own input.
    tokens: it is a norm over the last dimension of (frames, ..., D), outside attention.
    per_frame: maps that it took for one frame; above 1, heads or windows are folded into the batch (MViT).
    """

    name: str
    module: nn.Module
    input_size: tuple[int, int]  # H, W
    output_size: tuple[int, int]
    stage: int  # from 1; 0 is the stem
    gate: bool  # inside a squeeze-excitation or attention gate
    head: bool  # gives the classes
    calls: int
    fed_by: tuple[str, ...]
    tokens: bool = False
    per_frame: int = 1

    @property
    def is_conv(self) -> bool:
        """Whether it is a Conv2d or a subclass."""
        return isinstance(self.module, nn.Conv2d)

    @property
    def is_pointwise(self) -> bool:
        """Whether its spatial kernel is 1 x 1."""
        return self.module.kernel_size == (1, 1) if isinstance(self.module, nn.Conv2d) else False

    @property
    def on_maps(self) -> bool:
        """Whether it stands in the trunk: neither gate nor head, on one map a frame, not 1 x 1 on 1 x 1."""
        pooled = self.is_pointwise and self.input_size == (1, 1)
        return not self.gate and not self.head and not pooled and self.per_frame == 1


def trace(net: nn.Module, example: Tensor | None = None) -> tuple[tuple[Layer, ...], Tensor]:
    """The modules that took and gave maps, in order of execution, each once; and the frames that were run.

    example: frames (N, C, H, W); without it, zeros of the size that the network names, or of a usual one.

    Raises:
        UsageError: if no forward succeeds; with the network's own error.
    """
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        return _traced(net, example)
    finally:
        for module, training in modes.items():
            module.training = training


def other_kernels(net: nn.Module) -> tuple[str, ...]:
    """Modules with a spatial kernel of their own that are no Conv2d: CondConv2d, ConvTranspose2d, Conv3d."""
    return tuple(
        name
        for name, module in net.named_modules()
        if not isinstance(module, nn.Conv2d)
        and isinstance(getattr(module, "weight", None), Tensor)
        and isinstance(size := getattr(module, "kernel_size", None), tuple)
        and sum(side > 1 for side in size) > 1
    )


def example_frames(net: nn.Module) -> list[Tensor]:
    """Frames to try a network with: of the size that it names, else of usual sizes."""
    facts = getattr(net, "image_facts", None)
    config = getattr(net, "pretrained_cfg", None) or {}
    size = getattr(facts, "input_size", None) or config.get("input_size")
    like = next(net.parameters(), torch.empty(0))
    convolutions = (m for m in net.modules() if isinstance(m, nn.Conv2d | Clipwise))
    channels = next((m.in_channels for m in convolutions if hasattr(m, "in_channels")), 3)
    sizes = [tuple(size), (channels, *size[1:])] if size else [(channels, side, side) for side in _SIZES]
    return [like.new_zeros(1, *size) for size in dict.fromkeys(sizes)]


def _traced(net: nn.Module, example: Tensor | None) -> tuple[tuple[Layer, ...], Tensor]:
    tries = example_frames(net) if example is None else [example]
    problem: Exception | None = None
    for frames in tries:
        try:
            return _with_stages(_run(net, _several(frames))), frames
        except Exception as error:  # the network's own, kept for the message
            problem = problem or error
    shapes = ", ".join(str(tuple(t.shape)) for t in tries)
    raise UsageError(
        f"{type(net).__name__} does not take frames of {shapes} ({problem}); "
        "give lift(..., example=frames) of the shape (N, C, H, W) that it takes"
    ) from problem


def _several(frames: Tensor) -> Tensor:
    """Two frames for one: a first dimension of 1 would not tell frames from windows or a table."""
    return frames if len(frames) > 1 else frames.expand(2, -1, -1, -1)


def _run(net: nn.Module, frames: Tensor) -> list[dict]:
    names = {module: name for name, module in reversed(list(net.named_modules())) if name}
    found: dict[str, dict] = {}
    norms = token_norms(net)
    makers = _Makers()
    makers.note(frames, "")

    def before(module: nn.Module, args: tuple) -> None:
        name = names[module]
        if not (args and isinstance(args[0], Tensor)):
            return
        tokens = module in norms and are_tokens(module, args[0], len(frames))
        if not tokens and args[0].dim() != 4:
            return
        size = token_size(args[0]) if tokens else tuple(args[0].shape[2:])
        row = {"name": name, "module": module, "input_size": size, "fed_by": (), "calls": 0, "per_frame": 1}
        row = found.setdefault(name, row | {"tokens": tokens})
        row["calls"] += 1
        row["per_frame"] = max(row["per_frame"], -(-len(args[0]) // len(frames)))
        row["fed_by"] += makers.of(args[0])

    def after(module: nn.Module, args: tuple, output: object) -> None:
        row = found.get(names[module], {"tokens": False})
        if isinstance(output, Tensor) and row["tokens"]:
            row.setdefault("output_size", token_size(output))
        if isinstance(output, Tensor) and output.dim() == 4:
            makers.note(output, names[module])
            row.setdefault("output_size", tuple(output.shape[2:]))

    hooks = [m.register_forward_pre_hook(before) for m in names]
    hooks += [m.register_forward_hook(after) for m in names]
    try:
        with torch.no_grad():
            answer = net(frames)
    finally:
        for hook in hooks:
            hook.remove()
    rows = [row for row in found.values() if "output_size" in row]
    _mark_gates_and_head(net, rows, answer)
    return rows


class _Makers:
    """Which modules made a tensor that nothing has touched since: a change in place counts as touching."""

    def __init__(self) -> None:
        self._of = WeakTensorKeyDictionary()  # tensor -> (its version then, names)

    def note(self, tensor: Tensor, name: str) -> None:
        self._of[tensor] = (tensor._version, (*self.of(tensor), name))

    def of(self, tensor: Tensor) -> tuple[str, ...]:
        version, names = self._of.get(tensor, (0, ()))
        return names if version == tensor._version else ()


def _mark_gates_and_head(net: nn.Module, rows: list[dict], answer: object) -> None:
    gates = [name for name, module in net.named_modules() if name and _is_gate(module)]
    convs = [row for row in rows if isinstance(row["module"], nn.Conv2d)]
    for row in rows:
        row["gate"] = any(row["name"] == gate or row["name"].startswith(gate + ".") for gate in gates)
        row["head"] = row in convs and _takes_all(row)
    if convs and isinstance(answer, Tensor) and answer.dim() == 2:  # SqueezeNet classifies by 1 x 1 on maps
        last = convs[-1]["module"]
        convs[-1]["head"] |= last.kernel_size == (1, 1) and last.out_channels == answer.shape[1]


def _takes_all(row: dict) -> bool:
    """Whether a convolution without padding takes a whole map to one place, as a dense layer does."""
    conv = row["module"]
    padded = conv.padding if isinstance(conv.padding, str) else any(conv.padding)
    covers = conv.kernel_size == row["input_size"] != (1, 1)
    return covers and row["output_size"] == (1, 1) and padded in (False, "valid")


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
        sizes = sorted({row["output_size"] for row in convs} - {(1, 1)}, reverse=True)
        number = {size: i + 1 for i, size in enumerate(sizes)}
        stage_of = {row["name"]: number.get(row["output_size"], len(sizes)) for row in rows}
    return tuple(Layer(stage=stage_of[row["name"]], **row) for row in rows)


def _named_stage(name: str, numbers: dict[str, int]) -> int:
    match = _STAGE.search(name)
    return numbers.get(match.group(1), 0) if match else 0
