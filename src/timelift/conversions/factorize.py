"""Factorize: the layer on every frame, and a convolution through time beside or behind it.

Series: Sun et al. 2015 (FstCN), Tran et al. 2018 (R(2+1)D, matched mid-planes), Xie et al. 2018 (S3D).
Parallel and both: Qiu et al. 2017 (P3D-B and P3D-C).
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions.errors import ConversionError
from timelift.conversions.inflate import check_frames, check_stride, temporal_stride
from timelift.conversions.padding import TimePadding, check_padding
from timelift.conversions.temporal import TemporalConv, identity_through_time, random_through_time
from timelift.fields import typed


@dataclass(frozen=True, repr=False)
class Factorize:
    """The held layer S and a convolution T of `frames` x 1 x 1: T(S(x)), S(x) + T(x), or S(x) + T(S(x)).

    width: "matched" gives S the mid-planes that keep the parameters of a full 3-D kernel (R(2+1)D).
    between: "norm-act" puts a norm and an activation between S and T. With the identity start T stands behind
        the layer's own norm and activation; with the random start a new BatchNorm, whose shift takes the
        place of S's bias, and ReLU come between.
    start: "identity" answers exactly what the layer answers; "random" draws T (and, when matched, S) anew.
    """

    frames: int = 3
    order: Literal["series", "parallel", "both"] = "series"
    width: Literal["same", "matched"] = "same"
    between: Literal["none", "norm-act"] = "none"
    start: Literal["identity", "random"] = "identity"
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
        if self.width == "matched" and (self.start != "random" or self.order != "series"):
            raise ConversionError("width='matched' changes the width: it needs start='random' in series")
        if self.between == "norm-act" and self.order != "series":
            raise ConversionError(f"between='norm-act' is for order='series', not {self.order!r}")

    @property
    def keeps(self) -> frozenset[str]:
        """The laws that these fields promise."""
        kept = {"causal"} if self.causal or self.frames == 1 else set()
        if self.start == "identity":
            if self.padding in ("replicate", "valid") or self.order != "series":
                kept.add("still_clip")
            if self.padding != "valid" and self.stride == "none":
                kept |= {"identity_start", "still_clip"}
        return frozenset(kept)

    @property
    def after(self) -> Literal["layer", "norm-act"]:
        """Where lift puts the temporal part: in the layer's place, or behind its norm and activation."""
        return "norm-act" if self.between == "norm-act" and self.start == "identity" else "layer"

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer and its temporal part, on clips.

        Raises:
            ConversionError: for a layer that is no Conv2d, or that these fields do not fit.
        """
        conv = _convolution(layer)
        if self.after == "norm-act":
            raise ConversionError(
                "needs the network around the layer, for its norm and activation: use it through lift, "
                "or take between='none' or start='random'"
            )
        spatial = copy.deepcopy(conv) if self.width == "same" else _with_midplanes(conv, self.frames)
        if self.order == "parallel":
            _check_size(conv)
            return ParallelFactorized(spatial, self._temporal(conv, conv.in_channels))
        temporal = self._temporal(conv, spatial.out_channels)
        if self.order == "both":
            return BothFactorized(spatial, temporal)
        return SeriesFactorized(spatial if self.between == "none" else _with_norm_act(spatial), temporal)

    def temporal_part(self, layer: nn.Module) -> nn.Module:
        """T alone, for lift to put behind the layer's norm and activation."""
        conv = _convolution(layer)
        return self._temporal(conv, conv.out_channels)

    def _temporal(self, layer: nn.Conv2d, inp: int) -> TemporalConv:
        out, groups, like = layer.out_channels, layer.groups, layer.weight.detach()
        if self.start == "random":
            weight = random_through_time(like, out, inp, groups, self.frames)
        elif self.order == "series":
            weight = identity_through_time(like, out, groups, self.frames, self.causal)
        else:  # S(x) + 0
            weight = like.new_zeros(out, inp // groups, self.frames, 1, 1)
        return TemporalConv(weight, groups, temporal_stride(layer, self.stride), self.padding, self.causal)


_CHOICES = {
    "order": ("series", "parallel", "both"),
    "width": ("same", "matched"),
    "between": ("none", "norm-act"),
    "start": ("identity", "random"),
}


def midplanes(frames: int, height: int, width: int, inp: int, out: int) -> int:
    """Channels between S and T for the parameters of a full kernel (Tran et al. 2018, section 3.5)."""
    area = height * width
    return max(1, frames * area * inp * out // (area * inp + frames * out))


def _convolution(layer: nn.Module) -> nn.Conv2d:
    if not isinstance(layer, nn.Conv2d):
        raise ConversionError(f"is a {type(layer).__name__}: Factorize takes convolutions (Conv2d)")
    return layer


def _with_midplanes(layer: nn.Conv2d, frames: int) -> nn.Conv2d:
    if layer.groups != 1:
        raise ConversionError(f"has {layer.groups} groups: width='matched' is for one; take width='same'")
    if set(dict(layer.named_parameters())) - {"weight", "bias"}:
        raise ConversionError(f"is a {type(layer).__name__} with weights of its own: take width='same'")
    height, width = layer.kernel_size
    spatial = copy.deepcopy(layer)
    spatial.out_channels = midplanes(frames, height, width, layer.in_channels, layer.out_channels)
    weight = layer.weight.detach().new_empty(spatial.out_channels, layer.in_channels, height, width)
    spatial.weight = nn.Parameter(nn.init.kaiming_uniform_(weight, a=5**0.5))
    if layer.bias is not None:
        bound = (layer.in_channels * height * width) ** -0.5
        spatial.bias = nn.Parameter(weight.new_empty(spatial.out_channels).uniform_(-bound, bound))
    return spatial


def _with_norm_act(spatial: nn.Conv2d) -> nn.Module:
    spatial.bias = None
    norm = nn.BatchNorm2d(spatial.out_channels, device=spatial.weight.device, dtype=spatial.weight.dtype)
    return nn.Sequential(spatial, norm, nn.ReLU())


def _check_size(conv: nn.Conv2d) -> None:
    """For order='parallel': S must keep the map's size up to its stride; tried on maps without content."""
    weightless = copy.deepcopy(conv).to("meta")
    for height, width in ((40, 41), (41, 42), (42, 43)):
        maps = torch.empty(1, conv.in_channels, height, width, device="meta", dtype=conv.weight.dtype)
        made = tuple(weightless(maps).shape[2:])
        wanted = (-(-height // conv.stride[0]), -(-width // conv.stride[1]))
        if made != wanted:
            raise ConversionError(
                f"makes {made} of a map of {(height, width)}, and order='parallel' needs {wanted}: "
                "take order='both' or 'series'"
            )


class SeriesFactorized(nn.Module):
    """T(S(x)): (B, C, T, H, W) -> (B, C', T', H', W')."""

    def __init__(self, spatial: nn.Module, temporal: TemporalConv):
        super().__init__()
        self.spatial = OnFrames(spatial)
        self.temporal = temporal

    def forward(self, clip: Tensor) -> Tensor:
        """Space first, then time."""
        return self.temporal(self.spatial(clip))


class BothFactorized(SeriesFactorized):
    """S(x) + T(S(x)) (P3D-C)."""

    def forward(self, clip: Tensor) -> Tensor:
        """Space, and time on top of it."""
        spatial = self.spatial(clip)
        return own_frames(spatial, self.temporal) + self.temporal(spatial)


class ParallelFactorized(SeriesFactorized):
    """S(x) + T(x) (P3D-B); T sees every s-th pixel where S has spatial stride s."""

    def __init__(self, spatial: nn.Conv2d, temporal: TemporalConv):
        super().__init__(spatial, temporal)
        self.stride = spatial.stride

    def forward(self, clip: Tensor) -> Tensor:
        """Space and time, each on the input."""
        spatial = own_frames(self.spatial(clip), self.temporal)
        return spatial + self.temporal(clip[..., :: self.stride[0], :: self.stride[1]])


def own_frames(clip: Tensor, temporal: TemporalConv) -> Tensor:
    """The frames that stand under T's own tap, one for each of its outputs."""
    kernel = temporal.weight.shape[2]
    if temporal.padding != "valid":
        return clip[:, :, :: temporal.stride]
    own = kernel - 1 if temporal.causal else (kernel - 1) // 2
    return clip[:, :, own : clip.shape[2] - (kernel - 1 - own) : temporal.stride]
