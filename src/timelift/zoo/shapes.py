"""One architecture lifted on meta: which layers were converted, which refused and why."""

import copy
import dataclasses
import time
from collections import Counter

import torch
from torch import nn

from timelift.clip import Framewise
from timelift.conversions import ConversionError, Inflate, TokenConv
from timelift.conversions.kernel import is_plain
from timelift.lifting import VideoModel, lift
from timelift.networks.select import Rule, every, named, tokens
from timelift.networks.trace import Layer, other_kernels, trace
from timelift.zoo.build import family, native_size, versions, weightless
from timelift.zoo.record import Shapes

_CLIPS, _FRAMES = 2, 3


def shapes_of(name: str) -> Shapes:
    """The record of one architecture's lift.

    Raises:
        Exception: the network's own, where it cannot be built or run.
    """
    began = time.monotonic()
    net = weightless(name)
    spatial, rules, refused = rules_for(net, native_size(net))
    known = Shapes(
        name,
        family(name),
        parameters=_count(net),
        input_size=native_size(net),
        spatial=spatial,
        refused=refused,
        others=dict(Counter(type(net.get_submodule(layer)).__name__ for layer in other_kernels(net))),
        versions=versions(),
    )
    if not rules:
        return dataclasses.replace(known, error="no layer that a conversion takes")
    video = lift(net, *rules, example=torch.zeros(1, *native_size(net), device="meta"))
    return dataclasses.replace(
        known,
        step="tokens" if isinstance(rules[-1].conversion, TokenConv) else "inflate",
        converted=len(video.receipt.converted),
        parameters_after=_count(video),
        error=_wrong_shape(net, video),
        seconds=time.monotonic() - began,
    )


def rules_for(net: nn.Module, size: tuple[int, ...]) -> tuple[int, tuple[Rule, ...], dict[str, str]]:
    """Spatial convolutions, the rules that lift the network, and the layers refused with the reason.

    Two or more spatial convolutions are inflated; with fewer, the norms on tokens get the token step. Without
    such norms, what there is is inflated.
    """
    like = next(net.parameters())
    layers, _ = trace(net, like.new_zeros(1, *size))
    spatial = every.choose(layers)
    on_tokens = len(spatial) < 2 and tokens.choose(layers)
    rule = Rule(TokenConv(3), tokens) if on_tokens else Rule(Inflate(3), every)
    chosen = rule.place.choose(layers)
    refused = {layer.name: why for layer in chosen if (why := _refusal(rule.conversion, layer))}
    left_out = tuple(Rule(Framewise(), named(name)) for name in refused)
    rules = (*left_out, rule) if len(refused) < len(chosen) else ()
    return len(spatial), rules, refused


def _refusal(conversion: Inflate | TokenConv, layer: Layer) -> str:
    try:
        conversion(_with_numbers(layer.module))
    except ConversionError as error:
        return str(error)
    return ""


def _with_numbers(layer: nn.Module) -> nn.Module:
    """A copy that a conversion can probe: without numbers nothing would be found that is not linear."""
    if is_plain(layer) or not isinstance(layer, nn.Conv2d) or not layer.weight.is_meta:
        return layer
    generator = torch.Generator().manual_seed(0)
    made = copy.deepcopy(layer).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return made


def _wrong_shape(net: nn.Module, video: VideoModel) -> str:
    size = native_size(net)
    with torch.no_grad():
        classes = (
            (net.num_classes,) if net.num_classes else net(torch.zeros(1, *size, device="meta")).shape[1:]
        )
        answer = video.per_frame(torch.zeros(_CLIPS, size[0], _FRAMES, *size[1:], device="meta"))
    wanted = (_CLIPS, _FRAMES, *classes)
    return "" if answer.shape == wanted else f"a clip's answer is {tuple(answer.shape)}, wanted {wanted}"


def _count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
