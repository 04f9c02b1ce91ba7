"""Transform: a kernel whose first slice is learned, and whose others are that slice in motion (3DTT).

Ras, Ambrogioni, Güçlü and van Gerven 2018, Temporal Factorization of 3D Convolutional Kernels: every slice
is the one before it, moved by a spatial transformer (Jaderberg et al. 2015) that learns its motion.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from timelift.conversions.convolution import ConvOnClips
from timelift.conversions.errors import ConversionError
from timelift.conversions.inflate import check_frames, check_stride, temporal_stride
from timelift.conversions.kernel import effective_kernel
from timelift.conversions.padding import TimePadding, check_padding
from timelift.fields import typed

_CHOICES = {"motion": ("similarity", "affine"), "start": ("average", "normal")}


@dataclass(frozen=True, repr=False)
class Transform:
    """A kernel of `frames` slices: K0 is the earliest, and every other is the one before it, moved.

    motion: "similarity" learns scale, rotation and two translations for each filter and step; "affine" all
        six numbers of its 2x3 matrix. The input channels of a filter move together. All start without motion.
    shared: one motion for each filter, the same at every step.
    start: "average" begins at the 2-D kernel over `frames`; "normal" draws K0 from N(0, 1), as the paper.
    stride: "spatial" takes the layer's spatial stride in time, too.
    """

    frames: int = 3
    motion: Literal["similarity", "affine"] = "similarity"
    shared: bool = False
    start: Literal["average", "normal"] = "average"
    causal: bool = False
    padding: TimePadding = "replicate"
    stride: Literal["none", "spatial"] = "none"

    __repr__ = typed

    def __post_init__(self):
        check_padding(self.padding, self.causal)
        check_stride(self.stride)
        check_frames(self.frames)
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise ConversionError(f"{field}={getattr(self, field)!r}: there are {', '.join(choices)}")

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        kept = {"causal"} if self.causal or self.frames == 1 else set()
        if self.start == "average" and self.padding in ("replicate", "valid"):
            kept.add("still_clip")
        return frozenset(kept)

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The convolution on clips.

        Raises:
            ConversionError: for a layer that is no Conv2d, is not linear in its input, or whose kernel is
                one pixel high or wide.
        """
        if not isinstance(layer, nn.Conv2d):
            raise ConversionError(
                f"is a {type(layer).__name__}: Transform takes convolutions (Conv2d and its subclasses)"
            )
        if min(layer.kernel_size) == 1:
            height, width = layer.kernel_size
            raise ConversionError(
                f"has a kernel of {height}x{width}, in which nothing can move: "
                "use Inflate or Factorize, or leave the layer out with a place (@ named(...))"
            )
        flat, bias = effective_kernel(layer)
        k0 = flat / self.frames if self.start == "average" else torch.randn_like(flat)
        kernel = MovedKernel(k0, self.frames, self._motion(k0))
        return ConvOnClips(self, temporal_stride(layer, self.stride), layer, kernel, bias)

    def _motion(self, k0: Tensor) -> nn.Module | None:
        if self.frames == 1:
            return None
        kind = Similarity if self.motion == "similarity" else Affine
        return kind(1 if self.shared else self.frames - 1, k0)


class Similarity(nn.Module):
    """Scale, rotation (radians) and translation (half kernels), each (steps, C'): no motion at first."""

    decays = False  # pulled to zero, a scale would shrink what is sampled to a point

    def __init__(self, steps: int, k0: Tensor):
        super().__init__()
        shape = (steps, len(k0))
        self.scale = nn.Parameter(k0.new_ones(shape))
        self.rotate = nn.Parameter(k0.new_zeros(shape))
        self.translate_x = nn.Parameter(k0.new_zeros(shape))
        self.translate_y = nn.Parameter(k0.new_zeros(shape))

    def forward(self) -> Tensor:
        """The matrices (steps, C', 2, 3) of the paper's equation 2."""
        cos, sin = self.scale * self.rotate.cos(), self.scale * self.rotate.sin()
        x, y = self.translate_x, self.translate_y
        rows = [cos, -sin, x * cos - y * sin, sin, cos, x * sin + y * cos]
        return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


class Affine(nn.Module):
    """Any affine motion, theta (steps, C', 2, 3): none at first."""

    decays = False  # pulled to zero, a scale would shrink what is sampled to a point

    def __init__(self, steps: int, k0: Tensor):
        super().__init__()
        still = torch.eye(2, 3, dtype=k0.dtype, device=k0.device)
        self.theta = nn.Parameter(still.repeat(steps, len(k0), 1, 1))

    def forward(self) -> Tensor:
        """The matrices as they are."""
        return self.theta


class MovedKernel(nn.Module):
    """K0 (C', C/groups, h, w) and what moves it -> the kernel (C', C/groups, frames, h, w).

    motion: its forward makes the matrices (steps, C', 2, 3): one step, taken again and again, or frames - 1.
    """

    def __init__(self, k0: Tensor, frames: int, motion: nn.Module | None):
        super().__init__()
        self.k0 = nn.Parameter(k0)
        self.frames = frames
        self.motion = motion

    def forward(self) -> Tensor:
        """The slices, earliest first."""
        if self.motion is None:
            return self.k0.unsqueeze(2)
        filters, channels, height, width = self.k0.shape
        grids = sampling_grids(self.motion(), height, width).expand(self.frames - 1, -1, -1, -1, -1)
        if channels < _MANY * height * width:
            return in_motion(self.k0, grids)
        pixels = torch.eye(height * width, dtype=self.k0.dtype, device=self.k0.device)
        one_lit = pixels.view(1, -1, height, width).expand(filters, -1, -1, -1)  # (C', h*w, h, w)
        sampling = in_motion(one_lit, grids)  # (C', h*w, T, h, w): what every pixel of K0 gives to the kernel
        return torch.bmm(self.k0.flatten(2), sampling.flatten(2)).unflatten(2, sampling.shape[2:])

    def extra_repr(self) -> str:
        """What print(network) shows."""
        return f"{tuple(self.k0.shape)}, frames={self.frames}"


_MANY = 8  # input channels for every pixel of K0, from where moving the pixels and one product is faster


def sampling_grids(theta: Tensor, height: int, width: int) -> Tensor:
    """Matrices (steps, C', 2, 3) -> where every pixel comes from, (steps, C', h, w, 2): x, y in -1 .. 1.

    As `affine_grid` with align_corners=True, without the matrix product that autocast would round.
    """
    x = torch.linspace(-1, 1, width, dtype=theta.dtype, device=theta.device)
    y = torch.linspace(-1, 1, height, dtype=theta.dtype, device=theta.device).unsqueeze(1)
    by_x, by_y, shift = theta[..., None, None].unbind(3)  # each (steps, C', 2, 1, 1)
    return (by_x * x + by_y * y + shift).movedim(2, -1)


def in_motion(k0: Tensor, grids: Tensor) -> Tensor:
    """(C', C, h, w), moved by grids (T-1, C', h, w, 2) one after the other -> (C', C, T, h, w).

    Bilinear, zero outside: one sampling a slice, with the filters as its batch.
    """
    slices = [k0]
    for grid in grids.unbind(0):
        slices.append(nn.functional.grid_sample(slices[-1], grid, align_corners=True))
    return torch.stack(slices, dim=2)
