"""Places: which layers a conversion goes to. `Inflate() @ first(2)` is a rule.

Order and numbers are those of execution. `every`, `first`, `top` and `bottom` count the convolutions whose
spatial kernel is above 1x1, outside squeeze-excitation gates and heads; `every(pointwise=True)` adds 1x1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

from torch import nn

from timelift.networks.trace import Layer
from timelift.records.errors import UsageError

Conversion = Callable[[nn.Module], nn.Module]


class Place(Protocol):
    """Names layers: traced layers in, the chosen ones out, in the same order."""

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The layers of this place."""
        ...


@dataclass(frozen=True)
class Rule:
    """A conversion and its place.

    typed: how a user's own conversion was written, for the rule to be read again.
    """

    conversion: Any
    place: Any
    typed: str = field(default="", compare=False)

    def __str__(self) -> str:
        conversion = self.typed or repr(self.conversion)
        return conversion if self.place == every else f"{conversion} @ {self.place!r}"


class _Placed:
    """`conversion @ place` for any conversion, a user's own included."""

    def __rmatmul__(self, conversion: Any) -> Rule:
        if not callable(conversion):
            raise UsageError(
                f"{conversion!r} @ {self!r}: on the left stands a conversion, (layer) -> module on clips"
            )
        return Rule(conversion, self)


@dataclass(frozen=True)
class Every(_Placed):
    """Every convolution with a spatial kernel; with `pointwise`, 1x1 ones on maps, too."""

    pointwise: bool = False

    def __call__(self, pointwise: bool = False) -> "Every":
        """`every(pointwise=True)`."""
        return Every(pointwise)

    def __repr__(self) -> str:
        return "every(pointwise=True)" if self.pointwise else "every"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The convolutions of the trunk."""
        return tuple(
            layer
            for layer in layers
            if layer.is_conv and layer.on_maps and (self.pointwise or not layer.is_pointwise)
        )


every = Every()


@dataclass(frozen=True, repr=False)
class First(_Placed):
    """The first n."""

    n: int

    def __repr__(self) -> str:
        return f"first({self.n})"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The first n convolutions of `every`."""
        return every.choose(layers)[: self.n]


@dataclass(frozen=True, repr=False)
class Stages(_Placed):
    """The convolutions of some stages."""

    numbers: tuple[int, ...]

    def __repr__(self) -> str:
        return f"stages({', '.join(map(str, self.numbers))})"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The convolutions of `every` in these stages.

        Raises:
            UsageError: for a stage that the network does not have.
        """
        candidates = every.choose(layers)
        there = sorted({layer.stage for layer in candidates})
        missing = sorted(set(self.numbers) - set(there))
        if missing:
            raise UsageError(
                f"{self!r}: there is no stage {missing[0]}; the stages with convolutions are {there}"
            )
        return tuple(layer for layer in candidates if layer.stage in self.numbers)


@dataclass(frozen=True, repr=False)
class Top(_Placed):
    """The last share of the convolutions, rounded up."""

    share: float

    def __repr__(self) -> str:
        return f"top({self.share})"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The convolutions of `every` nearest the head."""
        candidates = every.choose(layers)
        return candidates[len(candidates) - math.ceil(self.share * len(candidates) - 1e-9) :]


@dataclass(frozen=True, repr=False)
class Bottom(_Placed):
    """The first share of the convolutions, rounded up."""

    share: float

    def __repr__(self) -> str:
        return f"bottom({self.share})"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The convolutions of `every` nearest the input."""
        candidates = every.choose(layers)
        return candidates[: math.ceil(self.share * len(candidates) - 1e-9)]


@dataclass(frozen=True, repr=False)
class Named(_Placed):
    """Modules by name: `*` and `?` as in file names; a plain name means exactly that module."""

    pattern: str

    def __repr__(self) -> str:
        return f"named({self.pattern!r})"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Whatever took and gave maps under such a name: convolutions, pools, whole stages."""
        return tuple(layer for layer in layers if fnmatchcase(layer.name, self.pattern))


@dataclass(frozen=True)
class Cycle:
    """Conversions in turn: the first layer takes the first, the second the second, and round again."""

    conversions: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"cycle({', '.join(map(repr, self.conversions))})"

    def __call__(self, layer: nn.Module) -> nn.Module:
        """Refused: a cycle is for lift, which counts the layers."""
        raise UsageError(f"{self!r} has no single layer's answer: use it in lift, with or without a place")


@dataclass(frozen=True)
class Tokens(_Placed):
    """The norms over the last dimension of tokens in the trunk, each run once a frame: TokenConv's place."""

    def __repr__(self) -> str:
        return "tokens"

    def choose(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """The norms on (frames, N, D) or (frames, H, W, D), outside attention."""
        return tuple(layer for layer in layers if layer.tokens and layer.calls == 1)


tokens = Tokens()


def first(n: int) -> First:
    """The first n convolutions; n is at least 1."""
    if n < 1:
        raise UsageError(f"first({n}): at least 1")
    return First(int(n))


def stages(*numbers: int) -> Stages:
    """The convolutions of these stages, numbered from 1 in order of execution (0 is the stem)."""
    if not numbers:
        raise UsageError("stages(): which? for example stages(3, 4)")
    return Stages(tuple(int(n) for n in numbers))


def top(share: float) -> Top:
    """The last share of the convolutions: top(0.5) is the half nearest the head."""
    return Top(_share(share, "top"))


def bottom(share: float) -> Bottom:
    """The first share of the convolutions: bottom(0.5) is the half nearest the input."""
    return Bottom(_share(share, "bottom"))


def named(pattern: str) -> Named:
    """The modules whose name matches: named("layer1.*.conv2"), named("pool1")."""
    return Named(pattern)


def cycle(*conversions: Conversion) -> Cycle:
    """Conversions in turn, as P3D's A, B, C: cycle(A, B, C) @ stages(1, 2, 3)."""
    if not conversions:
        raise UsageError("cycle(): which conversions?")
    return Cycle(tuple(conversions))


def _share(share: float, name: str) -> float:
    if not 0 < share <= 1:
        raise UsageError(f"{name}({share}): a share is above 0 and at most 1")
    return float(share)
