"""One architecture awake: a still clip's answers, damage that is felt, and answers frame by frame."""

import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from timelift.clip import Clipwise
from timelift.conversions import Inflate, TokenConv
from timelift.deploy.stream import Stream
from timelift.lifting import VideoModel, lift
from timelift.networks.images import import_timm
from timelift.networks.select import Rule
from timelift.testing.wake import wake
from timelift.zoo.build import awake_weights, smallest_input, versions
from timelift.zoo.precision import single_inside
from timelift.zoo.record import Numbers
from timelift.zoo.shapes import rules_for

EXACT = 1e-8  # relative: the most that the same answer may differ by
SINGLE = 1e-4  # the same, of a network that computes in float32 inside whatever it is given
ROUNDED = 100  # times the answer to pixels changed in their last digit: what a chaotic network may differ by
FELT = 1e-7  # relative: the least that a disturbed layer must move the answer
_DAMAGED = 3  # layers, spread over the network
_FRAMES = 3
_GAINS, _CALM = (2.0, 0.5), 1e-10
_WAKING = 4  # frames: a batch norm's variance of two numbers may be 0, and then rounding is all there is


def numbers_of(name: str) -> Numbers:
    """The record of one architecture's numbers.

    Raises:
        Exception: the network's own, or UsageError from `wake` where it answers all inputs alike.
    """
    began = time.monotonic()
    generator = torch.Generator().manual_seed(0)
    size, options = smallest_input(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        woken = _awake(import_timm().create_model(name, **options), size, generator)
        record = judged(_measured(Numbers(name, size), woken, generator))
    return dataclasses.replace(record, seconds=time.monotonic() - began, versions=versions())


def _awake(net: nn.Module, size: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    """The network awake; where that makes it chaotic, as sharp attention does, with smaller weights."""
    for gain in _GAINS:
        woken = wake(awake_weights(net, gain, generator), torch.randn(_WAKING, *size, generator=generator))
        if _rounding(woken, torch.randn(1, *size, generator=generator, dtype=torch.float64)) < _CALM:
            break
    return woken


def _rounding(net: Callable[[Tensor], Tensor], pixels: Tensor) -> float:
    """How far the answer moves when the pixels change in their last digit."""
    return _difference(net(pixels * (1 + 1e-15)), net(pixels))


def judged(record: Numbers) -> Numbers:
    """The record with the checks that it fails."""
    same = SINGLE if record.single else max(EXACT, min(ROUNDED * record.rounding, 1e-4))
    broken = {
        "still clip": not record.still < same,
        "damage": not min(record.damage.values()) > FELT,
        "stream": not record.stream < same,
        "history": not record.history > FELT,
    }
    return dataclasses.replace(record, broken=tuple(check for check, wrong in broken.items() if wrong))


def _measured(record: Numbers, woken: nn.Module, generator: torch.Generator) -> Numbers:
    size = record.input_size
    _, rules, _ = rules_for(woken, size)
    frames = torch.randn(_FRAMES, *size, generator=generator, dtype=torch.float64)
    video = lift(woken, *rules, example=frames).eval()
    still = _still(woken, video, frames[:2])
    slow = frames[:1] + 0.3 * (frames - frames[:1])  # noise that moves at random would fit no statistics
    clip = slow.unsqueeze(0).transpose(1, 2)  # (1, C, T, H, W)
    damage = _damage(video, clip[:, :, :2], generator)
    del video
    causal = lift(woken, *map(_causal, rules), example=frames).eval()
    stream, history, rounding = _streamed(causal, clip, generator)
    return dataclasses.replace(
        record,
        still=still,
        damage=damage,
        stream=stream,
        history=history,
        rounding=max(rounding, _rounding(woken, frames[:2])),
        single=single_inside(woken, frames[:1]),
    )


def _causal(rule: Rule) -> Rule:
    """The rule whose conversion sees no frame to come; one that leaves its layers framewise as it is."""
    if isinstance(rule.conversion, Inflate | TokenConv):
        return Rule(dataclasses.replace(rule.conversion, causal=True), rule.place)
    return rule


def _still(woken: nn.Module, video: VideoModel, frames: Tensor) -> float:
    """Two still clips of two frames."""
    answers = video.per_frame(torch.stack([frames, frames], dim=2))
    return _difference(answers, woken(frames).unsqueeze(1).expand_as(answers))


def _damage(video: VideoModel, clip: Tensor, generator: torch.Generator) -> dict[str, float]:
    """Layer -> how far its disturbance moves the answers to one clip of two frames."""
    layers = [module for module in video.modules() if isinstance(module, Clipwise)]
    chosen = {round(i * (len(layers) - 1) / (_DAMAGED - 1)) for i in range(_DAMAGED)}
    before, moved = video.per_frame(clip), {}
    for layer in (layers[i] for i in sorted(chosen)):
        kept = {name: parameter.clone() for name, parameter in layer.named_parameters()}
        _disturb(layer, 0.5, generator)
        moved[layer.name] = _difference(video.per_frame(clip), before)
        for name, parameter in layer.named_parameters():
            parameter.copy_(kept[name])
    return moved


def _streamed(video: VideoModel, clip: Tensor, generator: torch.Generator) -> tuple[float, float, float]:
    """Frame by frame against the whole clip; its last frame without the others; the whole, rounded."""
    for layer in video.modules():
        if isinstance(layer, Clipwise):
            _disturb(layer, 0.1, generator)  # all at once: more would not leave the network calm
    whole, stream = video.per_frame(clip), Stream(video)
    answers = (stream.step(frame).frame_logits for frame in clip.unbind(2))
    stepped = torch.stack([answer for answer in answers if answer is not None], dim=1)
    alone = video.per_frame(clip[:, :, -1:])
    return _difference(stepped, whole), _difference(whole[:, -1:], alone), _rounding(video.per_frame, clip)


def _disturb(module: nn.Module, share: float, generator: torch.Generator) -> None:
    """Noise of a share of a tensor's own size added to it, so that slices in time are no longer alike."""
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.add_(noise * share * (float(parameter.square().mean().sqrt()) or 1.0))


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest, relative to the largest answer; not a number where an answer is none."""
    return float((one - other).abs().max() / other.abs().max())
