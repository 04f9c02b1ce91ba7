"""Transform against nn.Conv3d of the same kernel, and against what it avoids: one sampling a filter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timelift.conversions import Transform
from timelift.conversions.convolution import ConvOnClips
from timelift.conversions.transform import MovedKernel, Similarity, sampling_grids
from timelift.records import UsageError
from timelift.timing import Contest, Outcome, measure

TURNS = 15


@dataclass(frozen=True)
class Place:
    """A convolution in a network, and the clips (B, C, T, H, W) that reach it."""

    name: str
    inp: int
    out: int
    side: int  # of the kernel, in space
    frames: int  # of the kernel, in time
    maps: tuple[int, int, int, int]  # B, T, H, W

    @property
    def clips(self) -> tuple[int, int, int, int, int]:
        """(B, C, T, H, W)."""
        return self.maps[0], self.inp, *self.maps[1:]


PLACES = (
    Place("LeNet-5-3DTTN conv1", 1, 12, 5, 5, (20, 30, 28, 28)),
    Place("LeNet-5-3DTTN conv2", 12, 22, 5, 5, (20, 15, 14, 14)),
    Place("ResNet-18 stage 1 at 112 px", 64, 64, 3, 3, (4, 8, 28, 28)),
    Place("ResNet-18 stage 4 at 112 px", 512, 512, 3, 3, (4, 8, 4, 4)),
)


def timed(turns: int, device: torch.device) -> Iterator[Outcome]:
    """All contests, on a CPU.

    Raises:
        UsageError: for another device.
    """
    if device.type != "cpu":
        raise UsageError(f"bench transform times on a CPU: --device {device} is not for it")
    return (measure(contest, turns) for contest in contests())


def contests() -> Iterator[Contest]:
    """Forward, and forward with backward, at every place."""
    for place in PLACES:
        layers = layers_at(place)
        for name, run in (("forward", forward), ("forward and backward", forward_and_backward)):
            clip = torch.randn(place.clips).contiguous(memory_format=torch.channels_last_3d)
            yield Contest(f"{place.name}, {name}", {way: run(layer, clip) for way, layer in layers.items()})


def layers_at(place: Place) -> dict[str, nn.Module]:
    """The same convolution three times, its filters in motion: all give the same answers."""
    inp, out, frames, side = place.inp, place.out, place.frames, place.side
    flat = nn.Conv2d(inp, out, side, padding=side // 2, bias=False)
    k0 = flat.weight.detach()
    motion = Similarity(frames - 1, k0)
    fields = Transform(frames, padding="zeros")
    moved = ConvOnClips(fields, 1, flat, MovedKernel(k0.clone(), frames, motion), None)
    looped = ConvOnClips(fields, 1, flat, FilterByFilter(k0.clone(), motion), None)
    padding = (frames // 2, side // 2, side // 2)
    plain = nn.Conv3d(inp, out, (frames, side, side), padding=padding, bias=False)
    with torch.no_grad():
        for parameter in motion.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        plain.weight.copy_(moved.kernel())
    return {"nn.Conv3d": plain, "Transform": moved, "a sampling for each filter": looped}


class FilterByFilter(nn.Module):
    """The same kernel, sampled filter by filter: what is written first, and slow."""

    def __init__(self, k0: Tensor, motion: nn.Module):
        super().__init__()
        self.k0 = nn.Parameter(k0)
        self.motion = motion

    def forward(self) -> Tensor:
        """(C', C/groups, T, h, w)."""
        grids = sampling_grids(self.motion(), *self.k0.shape[2:])
        filters = []
        for i in range(len(self.k0)):
            slices = [self.k0[i : i + 1]]
            for grid in grids:
                slices.append(nn.functional.grid_sample(slices[-1], grid[i : i + 1], align_corners=True))
            filters.append(torch.stack(slices, dim=2))
        return torch.cat(filters)


def forward(layer: nn.Module, clip: Tensor) -> Callable[[], object]:
    """A call that answers the clip."""

    def run() -> Tensor:
        with torch.inference_mode():
            return layer(clip)

    return run


def forward_and_backward(layer: nn.Module, clip: Tensor) -> Callable[[], object]:
    """A call that finds the gradients of the weights and of the clip."""
    learning = clip.clone(memory_format=torch.preserve_format).requires_grad_()
    parameters = list(layer.parameters())

    def run() -> tuple[Tensor, ...]:
        answer = layer(learning)
        return torch.autograd.grad(answer, [learning, *parameters], answer.detach())

    return run
