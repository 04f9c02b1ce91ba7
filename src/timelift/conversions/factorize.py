"""Factorize: the layer on every frame, and a convolution through time beside or behind it.

Series: Sun et al. 2015 (FstCN), Tran et al. 2018 (R(2+1)D, matched mid-planes), Xie et al. 2018 (S3D).
Parallel and both: Qiu et al. 2017 (P3D-B and P3D-C).
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from timelift.conversions.errors import ConversionError
from timelift.conversions.factorized import BothFactorized, ParallelFactorized, SeriesFactorized
from timelift.conversions.inflate import check_frames, check_stride, temporal_stride
from timelift.conversions.padding import TimePadding, check_padding
from timelift.conversions.temporal import TemporalConv, identity_through_time, random_through_time
from timelift.fields import typed


@dataclass(frozen=True, repr=False)
class Factorize:
    """The held layer S and a convolution T of `frames` x 1 x 1: T(S(x)), S(x) + T(x), or S(x) + T(S(x)).

    S may be a unit, nn.Sequential(convolution, norm, activation): then T is one, too, with a norm and an
    activation of its own (P3D's blocks). Its norm is fresh: an identity up to its eps, and in eval.

    width: of what lies between S and T. "matched": the mid-planes that keep the parameters of a full 3-D
        kernel (R(2+1)D); or their number.
    between: "norm-act" puts a norm and an activation between S and T. With the identity start T stands behind
        the layer's own norm and activation; with the random start a new BatchNorm, whose shift takes the
        place of S's bias, and ReLU come between.
    start: "identity" answers exactly what the layer answers; "random" draws T (and, when matched, S) anew.
    """

    frames: int = 3
    order: Literal["series", "parallel", "both"] = "series"
    width: Literal["same", "matched"] | int = "same"
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
        if not _is_width(self.width):
            raise ConversionError(f"width={self.width!r}: there are same, matched, or a number from 1")
        if self.width != "same" and (self.start != "random" or self.order != "series"):
            raise ConversionError(
                f"width={self.width!r} changes the width: it needs start='random' in series"
            )
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
            ConversionError: for what is no Conv2d and no unit, or that these fields do not fit.
        """
        conv, behind = _parts(layer)
        if behind and (self.width != "same" or self.between != "none"):
            raise ConversionError("is a unit with its own norm: take width='same' and between='none'")
        if self.after == "norm-act":
            raise ConversionError(
                "needs the network around the layer, for its norm and activation: use it through lift, "
                "or take between='none' or start='random'"
            )
        spatial = self._spatial(layer, conv)
        fresh = nn.Sequential(*map(_drawn_anew, behind))
        if self.order == "parallel":
            _check_size(conv)
            temporal = self._temporal(conv, conv.in_channels)
            return ParallelFactorized(spatial, temporal, fresh, conv.stride)
        temporal = self._temporal(conv, self._planes(conv))
        return _JOINED[self.order](spatial, temporal, fresh)

    def temporal_part(self, layer: nn.Module) -> nn.Module:
        """T alone, for lift to put behind the layer's norm and activation."""
        conv, _ = _parts(layer)
        return self._temporal(conv, conv.out_channels)

    def _planes(self, conv: nn.Conv2d) -> int:
        """The channels between S and T."""
        if isinstance(self.width, int):
            return self.width
        if self.width == "same":
            return conv.out_channels
        height, width = conv.kernel_size
        return midplanes(self.frames, height, width, conv.in_channels, conv.out_channels)

    def _spatial(self, layer: nn.Module, conv: nn.Conv2d) -> nn.Module:
        """S: the layer itself, or a convolution to the planes between, with what `between` puts there."""
        if self.width == "same" and self.between == "none":
            return copy.deepcopy(layer)
        spatial = copy.deepcopy(conv) if self.width == "same" else _with_planes(conv, self._planes(conv))
        return spatial if self.between == "none" else _with_norm_act(spatial)

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
    "between": ("none", "norm-act"),
    "start": ("identity", "random"),
}
_JOINED = {"series": SeriesFactorized, "both": BothFactorized}


def midplanes(frames: int, height: int, width: int, inp: int, out: int) -> int:
    """Channels between S and T for the parameters of a full kernel (Tran et al. 2018, section 3.5)."""
    area = height * width
    return max(1, frames * area * inp * out // (area * inp + frames * out))


def _is_width(width: str | int) -> bool:
    if isinstance(width, int) and not isinstance(width, bool):
        return width >= 1
    return width in ("same", "matched")


def _parts(layer: nn.Module) -> tuple[nn.Conv2d, tuple[nn.Module, ...]]:
    """The convolution, and in a unit what stands behind it."""
    if isinstance(layer, nn.Conv2d):
        return layer, ()
    parts = tuple(layer) if isinstance(layer, nn.Sequential) else ()
    alone = type(layer).forward is nn.Sequential.forward and not _convolutions(parts[1:])
    if not (parts and isinstance(parts[0], nn.Conv2d) and alone):
        raise ConversionError(
            f"is a {type(layer).__name__}: Factorize takes convolutions (Conv2d), "
            "and nn.Sequential of one with its norm and activation"
        )
    return parts[0], parts[1:]


def _convolutions(modules: tuple[nn.Module, ...]) -> bool:
    return any(isinstance(inner, nn.Conv2d) for module in modules for inner in module.modules())


def _drawn_anew(module: nn.Module) -> nn.Module:
    """A fresh one of the same kind: a norm with its first scales and statistics."""
    fresh = copy.deepcopy(module)
    for part in fresh.modules():
        reset: Any = getattr(part, "reset_parameters", None)
        if reset is not None:
            reset()
    return fresh


def _with_planes(layer: nn.Conv2d, planes: int) -> nn.Conv2d:
    if layer.groups != 1:
        raise ConversionError(f"has {layer.groups} groups: another width is for one; take width='same'")
    if set(dict(layer.named_parameters())) - {"weight", "bias"}:
        raise ConversionError(f"is a {type(layer).__name__} with weights of its own: take width='same'")
    height, width = layer.kernel_size
    spatial = copy.deepcopy(layer)
    spatial.out_channels = planes
    weight = layer.weight.detach().new_empty(planes, layer.in_channels, height, width)
    spatial.weight = nn.Parameter(nn.init.kaiming_uniform_(weight, a=5**0.5))
    if layer.bias is not None:
        bound = (layer.in_channels * height * width) ** -0.5
        spatial.bias = nn.Parameter(weight.new_empty(planes).uniform_(-bound, bound))
    return spatial


def _with_norm_act(spatial: nn.Conv2d) -> nn.Module:
    spatial.bias = None
    norm = nn.BatchNorm2d(spatial.out_channels, device=spatial.weight.device, dtype=spatial.weight.dtype)
    return nn.Sequential(spatial, norm, nn.ReLU(inplace=True))


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
