"""Inflate: one 3-D kernel in place of the 2-D one, every slice a multiple of it.

Carreira and Zisserman 2017 (I3D): average. Mansimov, Srivastava and Salakhutdinov 2015, section 3:
W_t = a_t * W with the a_t summing to 1: average (IA), scale (IS), zero (ZWI), negative (NWI).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from timelift.conversions.convolution import ConvOnClips
from timelift.conversions.errors import ConversionError
from timelift.conversions.kernel import effective_kernel
from timelift.conversions.padding import TimePadding, check_padding
from timelift.fields import typed

Start = Literal["average", "scale", "zero", "negative", "center", "random"]
STARTS = ("average", "scale", "zero", "negative", "center", "random")


@dataclass(frozen=True, repr=False)
class Inflate:
    """A kernel of `frames` slices; slice i starts as alphas[i] times the 2-D kernel.

    start: where the alphas come from, unless they are given; "random" draws the kernel anew.
    at: the slice, counted from the earliest frame, that zero and negative single out.
    stride: "spatial" takes the layer's spatial stride in time, too.
    """

    frames: int = 3
    start: Start = "average"
    alphas: tuple[float, ...] | None = None
    at: int = 0
    causal: bool = False
    padding: TimePadding = "replicate"
    stride: Literal["none", "spatial"] = "none"

    __repr__ = typed

    def __post_init__(self):
        check_padding(self.padding, self.causal)
        check_stride(self.stride)
        check_frames(self.frames)
        if self.start not in STARTS:
            raise ConversionError(f"start={self.start!r}: there are {', '.join(STARTS)}")
        if not 0 <= self.at < self.frames:
            raise ConversionError(f"at={self.at}: {self.frames} frames have slices 0 to {self.frames - 1}")
        if self.alphas is not None and len(self.alphas) != self.frames:
            raise ConversionError(f"{len(self.alphas)} alphas for {self.frames} frames")
        if self.alphas is not None:
            object.__setattr__(self, "alphas", tuple(float(a) for a in self.alphas))

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        kept = {"causal"} if self.causal or self.frames == 1 else set()
        if self.start == "random" and self.alphas is None:
            return frozenset(kept)
        alphas = slice_factors(self)
        if self.padding in ("replicate", "valid") and abs(sum(alphas) - 1) < 1e-9:
            kept.add("still_clip")
        own_frame = self.frames - 1 if self.causal else (self.frames - 1) // 2
        alone = all(a == (i == own_frame) for i, a in enumerate(alphas))
        if alone and self.padding != "valid" and self.stride == "none":
            kept.add("identity_start")
        return frozenset(kept)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The convolution on clips.

        Raises:
            ConversionError: for a layer that is no Conv2d, or is not linear in its input.
        """
        if not isinstance(layer, nn.Conv2d):
            raise ConversionError(
                f"is a {type(layer).__name__}: Inflate takes convolutions (Conv2d and its subclasses)"
            )
        flat, bias = effective_kernel(layer)
        weight = drawn_anew(flat, self.frames) if self._random else inflated(flat, slice_factors(self))
        return ConvOnClips(self, temporal_stride(layer, self.stride), layer, weight, bias)

    @property
    def _random(self) -> bool:
        return self.start == "random" and self.alphas is None


def check_frames(frames: int) -> None:
    """Raise a ConversionError for anything but a whole number from 1."""
    if not isinstance(frames, int) or frames < 1:
        raise ConversionError(f"frames={frames!r}: wanted a whole number, at least 1")


def check_stride(stride: str) -> None:
    """Raise a ConversionError for anything but none and spatial."""
    if stride not in ("none", "spatial"):
        raise ConversionError(f"stride={stride!r}: there are none and spatial")


def temporal_stride(layer: nn.Module, stride: str) -> int:
    """The stride in time that follows from the layer's spatial one: the larger of the two."""
    if stride == "none":
        return 1
    spatial: Any = layer.stride
    return max(spatial) if isinstance(spatial, tuple) else int(spatial)


def slice_factors(inflate: Inflate) -> tuple[float, ...]:
    """The alphas of a start, earliest slice first (Mansimov et al. 2015, sections 3.1 to 3.4).

    Raises:
        ConversionError: for "random", which has none.
    """
    if inflate.alphas is not None:
        return inflate.alphas
    frames, at = inflate.frames, inflate.at
    if inflate.start == "average":
        return (1 / frames,) * frames
    if inflate.start == "scale":  # a triangle: (1/4, 1/2, 1/4) for 3, (1/2, 1/2) for 2
        heights = [min(i + 1, frames - i) for i in range(frames)]
        return tuple(height / sum(heights) for height in heights)
    if inflate.start == "zero":
        return tuple(float(i == at) for i in range(frames))
    if inflate.start == "negative":
        return tuple((2 * frames - 1) / frames if i == at else -1 / frames for i in range(frames))
    if inflate.start == "center":
        middle = frames - 1 if inflate.causal else (frames - 1) // 2
        return tuple(float(i == middle) for i in range(frames))
    raise ConversionError("start='random' has no alphas")


def inflated(weight: Tensor, alphas: tuple[float, ...]) -> Tensor:
    """(C', C, h, w) -> (C', C, T, h, w): slice t is alphas[t] times the kernel."""
    factors = torch.tensor(alphas, dtype=weight.dtype, device=weight.device)
    return weight.unsqueeze(2) * factors.view(1, 1, -1, 1, 1)


def drawn_anew(weight: Tensor, frames: int) -> Tensor:
    """A kernel of `frames` slices from PyTorch's own start for convolutions (He et al. 2015, a = sqrt 5)."""
    fresh = weight.new_empty(*weight.shape[:2], frames, *weight.shape[2:])
    nn.init.kaiming_uniform_(fresh, a=5**0.5)
    return fresh
