"""From uint8 pixels to the network's input, at the last moment, on the device."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timelift.data import flow_vectors
from timelift.data.transforms import centre_crop, readied
from timelift.records import ClipFormat, UsageError


@dataclass(frozen=True)
class Normalise:
    """uint8 (B, C, T, H, W) -> float of the same shape: (pixel / 255 - mean) / std, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, clips: Tensor) -> Tensor:
        """The network's input."""
        mean, std = (torch.tensor(v, device=clips.device).view(1, -1, 1, 1, 1) for v in (self.mean, self.std))
        return torch.div(clips.float(), 255).sub_(mean).div_(std)  # in place: one new tensor, not three


@dataclass(frozen=True)
class ClipTransform:
    """`load(RUN).transform`: decoded frames (T, H, W, C) uint8 -> one clip (1, C, T, size, size).

    The frames are those of one clip already; `clip` says how many, how far apart, and of which short side.
    normalise: from uint8 to the network's input, a Normalise; an exported file takes the pixels themselves.
    """

    clip: ClipFormat
    normalise: Callable[[Tensor], Tensor]

    def example(self, clips: int) -> Tensor:
        """Random clips as the network takes them, (clips, C, T, size, size); always the same ones."""
        size = (clips, self.clip.in_channels, self.clip.frames, self.clip.size, self.clip.size)
        generator = torch.Generator().manual_seed(0)
        return self.normalise(torch.randint(256, size, generator=generator, dtype=torch.uint8))

    def __call__(self, frames: np.ndarray) -> Tensor:
        """The centre crop, as the network takes it."""
        cropped = centre_crop(readied(frames, self.clip), self.clip.size)
        clip = np.ascontiguousarray(flow_vectors.stacked(cropped, self.clip.stack))  # (T, size, size, C)
        return self.normalise(torch.from_numpy(clip).permute(3, 0, 1, 2).unsqueeze(0))


def with_pixels_of(clip: ClipFormat, image_facts: Any) -> ClipFormat:
    """The clip format with the image network's own mean and std where the recipe says none.

    The mean of optical flow is no motion, whatever the network's; its std is the network's, averaged over
    RGB: the spread that the first layer's adapted weights are used to (as Wang et al. 2016).

    Raises:
        UsageError: if mean or std are not one number a channel.
    """
    middle: tuple[float, ...] = (0.5,) * clip.in_channels
    still = (flow_vectors.ZERO / 255,)
    own = still if clip.channels == flow_vectors.CHANNELS else getattr(image_facts, "mean", middle)
    mean = clip.mean if clip.mean is not None else own
    std = clip.std if clip.std is not None else getattr(image_facts, "std", middle)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in {1, int(clip.channels), clip.in_channels}:
            raise UsageError(f"recipe: clip.{name} has {len(values)} numbers for {clip.channels} channel(s)")
    spread = [tuple(v) * (clip.in_channels // len(v)) for v in (mean, std)]
    return dataclasses.replace(clip, mean=spread[0], std=spread[1])
