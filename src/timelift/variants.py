"""Variants as text: `NETWORK[(options)] RULE [@ WHERE] + RULE ...`, parsed, never evaluated.

"timm:resnet18(weights=None) Inflate(frames=3, start='negative') @ first(2) + MaxPool(2) @ named('maxpool')"
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timelift.conversions as conversions
from timelift.clip import Framewise
from timelift.lifting import VideoModel, lift
from timelift.networks import select
from timelift.networks.images import image_network
from timelift.networks.user_file import load_object
from timelift.records.errors import UsageError
from timelift.systems import SYSTEMS, create_model

_CONVERSIONS = {
    name.lower(): getattr(conversions, name)
    for name in conversions.__all__
    if not issubclass(getattr(conversions, name), Exception)
}
_PLACES = {"first", "stages", "top", "bottom", "named"}
_CALL = re.compile(r"(?P<name>[^\s(]+)\s*(?:\((?P<arguments>.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True)
class Variant:
    """A network by name with its options, and the rules that lift it; a system has none."""

    network: str
    options: tuple[tuple[str, Any], ...] = ()
    rules: tuple[select.Rule, ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{key}={value!r}" for key, value in self.options)
        rules = " + ".join(map(str, self.rules))
        return f"{self.network}{f'({options})' if options else ''} {rules}".strip()

    @property
    def is_system(self) -> bool:
        """Whether `create_model` builds it."""
        return self.network in SYSTEMS


def parse_variant(text: str) -> Variant:
    """Read a variant; without rules an image network is lifted framewise.

    Raises:
        UsageError: quoting the part that is not understood.
    """
    text = " ".join(text.split())
    head, rest = _split_network(text)
    name, (positional, options) = _call(head, text)
    if positional:
        raise UsageError(f"{text!r}: {name} takes named options, as {name}(weights=None)")
    if name not in SYSTEMS and ":" not in name:
        known = f"a system ({', '.join(SYSTEMS)}) nor timm:NAME, torchvision:NAME or my_file.py:function"
        raise UsageError(f"{text!r}: {name!r} is neither {known}")
    if name in SYSTEMS and rest:
        raise UsageError(f"{text!r}: the system {name} is lifted already, rules cannot follow it")
    _check_options(name, options, text)
    rules = tuple(_rule(part, text) for part in _split(rest, "+")) if rest else ()
    if not rules and name not in SYSTEMS:
        rules = (select.Rule(Framewise(), select.every),)
    return Variant(name, tuple(options.items()), rules)


def _check_options(name: str, options: dict[str, Any], whole: str) -> None:
    takes = (*SYSTEMS[name].takes, "weights") if name in SYSTEMS else ("weights",)
    for option in options:
        if option not in takes:
            raise UsageError(f"{whole!r}: {name} has no option {option!r}; it has {', '.join(takes)}")


def build_variant(
    variant: Variant | str,
    classes: int,
    in_channels: int = 3,
    frames: int | None = None,
    size: int | None = None,
) -> VideoModel:
    """The network on clips, ready to train on these classes.

    frames and size are told to systems whose head depends on them.

    Raises:
        UsageError: for anything in the text that the network or the conversions refuse.
    """
    variant = parse_variant(variant) if isinstance(variant, str) else variant
    options = dict(variant.options)
    if variant.is_system:
        told = {"classes": classes, "in_channels": in_channels, "frames": frames, "size": size}
        takes = SYSTEMS[variant.network].takes
        return create_model(
            variant.network, **{k: v for k, v in told.items() if k in takes and v is not None} | options
        )
    image = build_image(variant, classes, in_channels)
    return lift(image, *variant.rules)


def build_image(variant: Variant, classes: int | None, in_channels: int = 3) -> Any:
    """The variant's image network, not lifted.

    Raises:
        UsageError: for a system, which is no image network, or weights that cannot be had.
    """
    if variant.is_system:
        raise UsageError(f"{variant}: a system has no image network")
    return image_network(variant.network, classes=classes, in_channels=in_channels, **dict(variant.options))


def _rule(text: str, whole: str) -> select.Rule:
    parts = [part.strip() for part in _split(text, "@")]
    if len(parts) > 2:
        raise UsageError(f"{whole!r}: {text.strip()!r} has more than one place")
    conversion = _conversion(parts[0], whole)
    place = _place(parts[1], whole) if len(parts) == 2 else select.every
    return select.Rule(conversion, place, parts[0] if ".py:" in parts[0] else "")


def _conversion(text: str, whole: str) -> Any:
    match = _CALL.fullmatch(text)
    if match and match["name"].lower() == "cycle":
        parts = _split(match["arguments"] or "", ",")
        return _built(select.cycle, [_conversion(part.strip(), whole) for part in parts], {}, text, whole)
    name, (positional, named) = _call(text, whole)
    if ".py:" in name:
        path, _, member = name.rpartition(":")
        own = load_object(Path(path), member)
        is_made = not isinstance(own, type) and "(" not in text  # a function (layer) -> module on clips
        return own if is_made else _built(own, positional, named, text, whole)
    if name.lower() not in _CONVERSIONS:
        there = ", ".join(kind.__name__ for kind in _CONVERSIONS.values())
        raise UsageError(
            f"{whole!r}: {name!r} is no conversion; there are {there}, cycle(...) and my_file.py:NAME"
        )
    return _built(_CONVERSIONS[name.lower()], positional, named, text, whole)


def _built(kind: Any, positional: list, named: dict, text: str, whole: str) -> Any:
    try:
        return kind(*positional, **named)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{whole!r}: {text}: {error}") from error


def _place(text: str, whole: str) -> Any:
    if text in ("every", "tokens"):
        return getattr(select, text)
    name, (positional, named) = _call(text, whole)
    if name == "every":
        return _built(select.every, positional, named, text, whole)
    if name not in _PLACES:
        raise UsageError(
            f"{whole!r}: {name!r} is no place; there are every, tokens, {', '.join(sorted(_PLACES))}"
        )
    return _built(getattr(select, name), positional, named, text, whole)


def _call(text: str, whole: str) -> tuple[str, tuple[list, dict]]:
    match = _CALL.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{whole!r}: cannot read {text.strip()!r}; wanted NAME or NAME(field=value, ...)")
    try:
        call = ast.parse(f"f({match['arguments'] or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or isinstance(call.func, ast.Call):
            raise ValueError("more than one call")
        positional = [ast.literal_eval(argument) for argument in call.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UsageError(
            f"{whole!r}: cannot read the fields of {text.strip()!r}; values are plain, as 3 or 'zero'"
        ) from error
    return match["name"], (positional, named)


def _split_network(text: str) -> tuple[str, str]:
    """The network is what stands before the first space outside brackets."""
    parts = _split(text, " ", most=1)
    return parts[0], parts[1].strip() if len(parts) > 1 else ""


def _split(text: str, mark: str, most: int = -1) -> list[str]:
    """Split at a mark outside brackets and quotes; at most so many times."""
    parts: list[str] = []
    depth, quote, start = 0, "", 0
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == mark and depth == 0 and most != len(parts):
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]
