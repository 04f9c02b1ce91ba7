"""The depthwise layers of lite0 looking through time, against nn.Conv3d with the same kernels."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from timelift.bench.peer_calls import settled
from timelift.bench.rotation import Call
from timelift.clip import Clipwise, channels_last
from timelift.conversions import Inflate
from timelift.conversions.convolution import ConvOnClips
from timelift.lifting import lift
from timelift.networks.images import image_network
from timelift.networks.select import named

Kind = Literal["timelift", "nn.Conv3d", "channels-last"]
_CLIPS = (4, 3, 8, 112, 112)


def depthwise_call(kind: Kind, device: torch.device) -> Call:
    """Every layer's answer, and the gradients of its kernel and its input, one layer after the other."""
    generator = torch.Generator().manual_seed(0)
    work = []
    for layer, shape in _layers():
        clip = torch.randn(shape, generator=generator)
        module = layer if kind == "timelift" else as_conv3d(layer)
        clip = clip if kind == "nn.Conv3d" else channels_last(clip)
        if kind == "channels-last":
            module = module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        work.append((module.to(device), clip.to(device).requires_grad_()))

    def found() -> list[Tensor]:
        tensors: list[Tensor] = []
        for module, clip in work:
            answer = module(clip)
            gradients = torch.autograd.grad(answer, [clip, *module.parameters()], answer.detach())
            tensors += [answer.detach(), *gradients]
        return tensors

    return Call(lambda: settled(found()[-1]), found)


def depthwise_flops() -> float:
    """Of one forward of all layers."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        for layer, shape in _layers():
            as_conv3d(layer).to("meta")(torch.empty(shape, device="meta"))
    return float(counter.get_total_flops())


def as_conv3d(layer: ConvOnClips) -> nn.Conv3d:
    """The same convolution as PyTorch's module."""
    kernel = layer.kernel().detach()
    padding = (kernel.shape[2] // 2, *layer.space[1])
    inp = kernel.shape[1] * layer.groups
    sides: Any = tuple(kernel.shape[2:])
    conv = nn.Conv3d(inp, len(kernel), sides, padding=padding, groups=layer.groups, bias=False)
    conv.weight = nn.Parameter(kernel.clone())
    return conv


def _layers() -> list[tuple[ConvOnClips, tuple[int, ...]]]:
    """The layers, inflated with zeros around, and the clips (B, C, T, H, W) that reach them; of stride 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = image_network("timm:tf_efficientnet_lite0", classes=10, weights=None)
        video = lift(net, Inflate(3, start="random", padding="zeros") @ named("*conv_dw")).eval()
    found: list[tuple[ConvOnClips, tuple[int, ...]]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        if isinstance(layer, ConvOnClips) and layer.held is None:
            found.append((layer, tuple(given[0].shape)))

    handles = [m.on_clips.register_forward_hook(note) for m in video.modules() if isinstance(m, Clipwise)]
    with torch.no_grad():
        video(torch.zeros(_CLIPS))
    for handle in handles:
        handle.remove()
    return found
