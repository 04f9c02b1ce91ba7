"""check_conversion: the laws that every conversion keeps, and those that it declares in `keeps`."""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from timelift.clip import Framewise, fold
from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.testing.layers import cases
from timelift.testing.wake import scale

_EXACT = 1e-10  # relative, in float64


class LawBroken(AssertionError):
    """A conversion does not keep a law; the message names law, layer and numbers."""


@dataclass(frozen=True)
class LawReport:
    """What was checked: laws with their number of layers, and the layers that the conversion refused."""

    conversion: str
    laws: dict[str, int]
    refused: dict[str, str]  # layer -> why

    def __str__(self) -> str:
        kept = ", ".join(f"{law} on {count}" for law, count in self.laws.items())
        refused = "".join(f"\n  refused: {layer} {why}" for layer, why in self.refused.items())
        return f"{self.conversion} keeps {kept} layers{refused}"


@dataclass(frozen=True)
class _Trial:
    """One conversion on one layer, with what the laws need around it."""

    conversion: Any
    name: str
    layer: nn.Conv2d
    size: tuple[int, int]
    generator: torch.Generator

    def clip(self, length: int, clips: int = 2) -> Tensor:
        shape = (clips, self.layer.in_channels, length, *self.size)
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def convert(self, layer: nn.Conv2d | None = None) -> nn.Module:
        return self.conversion(layer or self.layer).double()

    def randomised(self, layer: nn.Conv2d | None = None) -> nn.Module:
        """Converted, with every parameter drawn anew: what a start puts to zero is felt."""
        made = self.convert(layer)
        _randomise(made, self.generator)
        return made

    @property
    def stride(self) -> int:
        """In time, as the conversion's fields say."""
        said = getattr(self.conversion, "stride", "none")
        if said == "spatial":
            return max(self.layer.stride)
        return int(said or self.frames) if said != "none" else 1

    @property
    def frames(self) -> int:
        return int(getattr(self.conversion, "frames", 1))

    @property
    def valid(self) -> bool:
        return getattr(self.conversion, "padding", None) == "valid"

    @property
    def enough(self) -> int:
        """A length in which every slice sees a frame."""
        return max(4, self.frames + 2 * self.stride + 1)

    def outputs(self, length: int) -> int:
        return (length - self.frames) // self.stride + 1 if self.valid else -(-length // self.stride)

    def own_frame(self, output: int) -> int:
        """The last frame that an output of a causal conversion may see."""
        return output * self.stride + (self.frames - 1 if self.valid else 0)

    def broken(self, law: str, what: str) -> LawBroken:
        return LawBroken(f"{law}: {self.conversion!r} on {self.name}: {what}")


def check_conversion(conversion: Callable[[Any], nn.Module], *, seed: int = 0) -> LawReport:
    """Try a conversion on every kind of convolution; what was checked, and what it refused.

    conversion: (layer) -> module on clips; its `keeps`, if it has one, declares identity_start, still_clip
        and causal; its fields `frames`, `stride` and `padding`, if it has them, say how long the answer is.

    Raises:
        LawBroken: for the first law that is broken, naming the layer, or if every layer is refused.
    """
    declared: frozenset[str] = getattr(conversion, "keeps", frozenset())
    laws = {**_ALWAYS, **{law: check for law, check in _DECLARED.items() if law in declared}}
    kept, refused = Counter[str](), dict[str, str]()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, case in cases():
            generator = torch.Generator().manual_seed(seed)
            trial = _Trial(conversion, name, case.build().double(), case.size, generator)
            try:
                trial.convert()
            except ConversionError as error:
                refused[name] = str(error)
                continue
            for law, check in laws.items():
                check(trial)
                kept[law] += 1
    if not kept:
        raise LawBroken(
            f"{conversion!r} refuses every layer, the first because it {next(iter(refused.values()))}"
        )
    return LawReport(repr(conversion), dict(kept), refused)


def _shape(trial: _Trial) -> None:
    made = trial.convert().eval()
    for length in (1, 2, 5, trial.enough):
        clip = trial.clip(length)
        if trial.valid and length < trial.frames:
            _refuses_short(trial, made, clip)
            continue
        frames = trial.layer(fold(clip))
        wanted = (2, frames.shape[1], trial.outputs(length), *frames.shape[2:])
        try:
            came = tuple(made(clip).shape)
        except ClipTooShort as error:
            raise trial.broken("shape", f"{error}; its fields do not say padding='valid'") from error
        if came != wanted:
            raise trial.broken("shape", f"a clip {tuple(clip.shape)} became {came}, wanted {wanted}")


def _refuses_short(trial: _Trial, made: nn.Module, clip: Tensor) -> None:
    try:
        made(clip)
    except ClipTooShort:
        return
    raise trial.broken("shape", f"took {clip.shape[2]} frame(s) with a kernel of {trial.frames}, unpadded")


def _source_untouched(trial: _Trial) -> None:
    layer = copy.deepcopy(trial.layer)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    made = trial.randomised(layer).train()
    with torch.enable_grad():
        made(trial.clip(trial.enough)).sum().backward()
    _randomise(made, trial.generator)
    for name, tensor in layer.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise trial.broken("source untouched", f"the layer's own {name} changed")
    grown = [name for name, parameter in layer.named_parameters() if parameter.grad is not None]
    if grown or not layer.training:
        raise trial.broken("source untouched", f"the layer's own state changed: {grown or 'eval'}")


def _every_weight_learns(trial: _Trial) -> None:
    made = trial.randomised().train()
    with torch.enable_grad():
        answer = made(trial.clip(trial.enough))
        weights = torch.randn(answer.shape, generator=trial.generator, dtype=answer.dtype)
        (answer * weights).sum().backward()
    for name, parameter in made.named_parameters():
        if parameter.grad is None:
            raise trial.broken("every weight learns", f"{name} gets no gradient")
        dead = int((parameter.grad.abs() <= 1e-12 * parameter.grad.abs().max()).sum())
        if dead or not parameter.grad.isfinite().all():
            raise trial.broken(
                "every weight learns", f"{dead} of {parameter.numel()} numbers of {name} get no gradient"
            )


def _round_trip(trial: _Trial) -> None:
    first = trial.randomised().eval()
    other = copy.deepcopy(trial.layer)
    _randomise(other, trial.generator)
    second = trial.randomised(other).eval()
    try:
        second.load_state_dict(first.state_dict(), strict=True)
    except RuntimeError as error:
        raise trial.broken("strict state-dict round trip", str(error)) from error
    clip = trial.clip(trial.enough)
    difference = _relative(first(clip), second(clip))
    if difference:
        raise trial.broken("strict state-dict round trip", f"answers differ by {difference:.1e} (relative)")


def _identity_start(trial: _Trial) -> None:
    clip = trial.clip(5)
    difference = _relative(trial.convert().eval()(clip), Framewise()(trial.layer)(clip))
    if not difference < _EXACT:
        raise trial.broken("identity start", f"differs from the layer by {difference:.1e} (relative)")


def _still_clip(trial: _Trial) -> None:
    made = trial.convert().eval()
    frame = trial.clip(1)
    alone = trial.layer(fold(frame)).unsqueeze(2)
    for length in (trial.enough, trial.frames if trial.valid else 1):
        answer = made(frame.expand(-1, -1, length, -1, -1))
        difference = _relative(answer, alone.expand_as(answer))
        if not difference < _EXACT:
            raise trial.broken(
                "still clip", f"{length} equal frames: differs from the layer by {difference:.1e} (relative)"
            )


def _causal(trial: _Trial) -> None:
    made = trial.randomised().eval()
    clip = trial.clip(trial.enough)
    before = made(clip)
    for last in range(trial.enough - 1):
        changed = clip.clone()
        changed[:, :, last + 1 :] += 1
        moved = [bool((a != b).any()) for a, b in zip(before.unbind(2), made(changed).unbind(2), strict=True)]
        early = [t for t, any_moved in enumerate(moved) if any_moved and trial.own_frame(t) <= last]
        if early:
            raise trial.broken("causal", f"output {early[0]} changed with frames behind frame {last}")
        if not any(moved) and any(trial.own_frame(t) > last for t in range(len(moved))):
            raise trial.broken("causal", f"no output changed with the frames behind frame {last}")


_ALWAYS: dict[str, Callable[[_Trial], None]] = {
    "shape": _shape,
    "source untouched": _source_untouched,
    "every weight learns": _every_weight_learns,
    "strict state-dict round trip": _round_trip,
}
_DECLARED: dict[str, Callable[[_Trial], None]] = {
    "identity_start": _identity_start,
    "still_clip": _still_clip,
    "causal": _causal,
}


def _randomise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter: a kernel by its number of inputs, a norm as a trained one might be."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            scale(part, generator)
            continue
        for parameter in part.parameters(recurse=False):
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(drawn * parameter[0].numel() ** -0.5 if parameter.dim() else drawn)


def _relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())
