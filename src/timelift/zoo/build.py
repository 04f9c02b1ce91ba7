"""An architecture of timm, built without downloads: weightless for shapes, small and awake for numbers."""

import inspect
from collections.abc import Iterator

import torch
from torch import nn

from timelift.networks.images import import_timm

SIDES = (64, 96, 128, 160, 192, 224, 256)  # tried in turn; at 32 many networks end in maps of one pixel


def versions() -> str:
    """Which timm and torch the results hold for."""
    return f"timm {import_timm().__version__}, torch {torch.__version__}"


def family(name: str) -> str:
    """The file of timm that defines the architecture: resnet18 -> resnet; "" for a name that timm lacks."""
    timm = import_timm()
    return timm.models.model_entrypoint(name).__module__.rpartition(".")[2] if timm.is_model(name) else ""


def weightless(name: str) -> nn.Module:
    """The architecture as timm makes it, in eval, on the meta device."""
    with torch.device("meta"):
        return import_timm().create_model(name).eval()


def native_size(net: nn.Module) -> tuple[int, ...]:
    """(C, H, W) of the pretrained weights."""
    return tuple(net.pretrained_cfg["input_size"])  # type: ignore[index,call-overload]


def smallest_input(name: str) -> tuple[tuple[int, ...], dict[str, int]]:
    """The smallest (C, H, W) that the architecture takes, and the options to build it with.

    Raises:
        RuntimeError: if it takes none of them, with its own error.
    """
    problem: Exception | None = None
    for size, options in _tries(name):
        try:
            with torch.device("meta"), torch.no_grad():
                net = import_timm().create_model(name, **options).eval()
                net(torch.zeros(2, *size))
            return size, options
        except Exception as error:  # many networks' own errors for sizes that they do not take
            problem = error
    raise RuntimeError(f"{name} runs at no size that was tried: {problem}")


def _tries(name: str) -> Iterator[tuple[tuple[int, ...], dict[str, int]]]:
    net = weightless(name)
    channels, *native = native_size(net)
    sizable = "img_size" in inspect.signature(type(net).__init__).parameters
    for side in SIDES:
        if side < max(native):
            if sizable:
                yield (channels, side, side), {"img_size": side}
            yield (channels, side, side), {}
    yield (channels, *native), {}


def awake_weights(net: nn.Module, gain: float, generator: torch.Generator) -> nn.Module:
    """Every dense layer and convolution drawn with variance gain / inputs (2: He et al. 2015), in place.

    Heads and gates that start at zero, and matrices of 0.02, would hide the layers before them.
    """
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and module.weight.dim() > 1:
                inputs = module.weight[0].numel()
                module.weight.normal_(0, (gain / inputs) ** 0.5, generator=generator)
    return net
