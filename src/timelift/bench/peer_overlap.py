"""Clips of a video that overlap: judged one by one, at once, and with the work that they share done once."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from timelift.bench.peer_calls import settled
from timelift.bench.peer_streams import seeded
from timelift.bench.rotation import Call
from timelift.conversions import Inflate
from timelift.deploy.overlap import OverlappingClips
from timelift.lifting import VideoModel, lift
from timelift.networks.resnet import resnet
from timelift.networks.select import first

FRAMES, CLIPS, LENGTH, SIDE = 64, 10, 32, 64
Way = Literal["one by one", "at once", "shared"]


def overlap_call(causal: bool, way: Way, device: torch.device) -> Call:
    """The logits of all clips: ResNet-18 on frames alone, or its first two convolutions inflated, causal."""
    video, frames, places = _video(causal).to(device), _frames().to(device), _places().to(device)
    ways: dict[Way, Callable[[], Tensor]] = {
        "one by one": lambda: torch.cat([video(_clips(frames, place[None])) for place in places]),
        "at once": lambda: video(_clips(frames, places)),
        "shared": lambda: shared(frames, places),
    }
    shared = OverlappingClips(video, frames[:1], LENGTH, at_once=CLIPS)

    def run() -> Tensor:
        with torch.inference_mode():
            return settled(ways[way]())

    return Call(run, lambda: (run(),))


def _video(causal: bool) -> VideoModel:
    rules = (Inflate(3, causal=True, start="random") @ first(2),) if causal else ()
    return seeded(lambda: lift(resnet(18, 400), *rules, example=torch.zeros(1, 3, SIDE, SIDE)))


def _frames() -> Tensor:
    return torch.randn(FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def _places() -> Tensor:
    """(CLIPS, LENGTH): clips from the first frame to the last, as far apart as they can be."""
    starts = torch.linspace(0, FRAMES - LENGTH, CLIPS).round().long()
    return starts[:, None] + torch.arange(LENGTH)


def _clips(frames: Tensor, places: Tensor) -> Tensor:
    """(V, C, T, H, W)."""
    return frames[places].transpose(1, 2)
