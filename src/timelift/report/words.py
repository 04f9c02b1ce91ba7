"""Numbers and names as a page shows them: signs, units, short names of variants."""

import math
import re
from collections.abc import Collection, Sequence

from timelift.comparison.study import LINEAR_PROBE, Study

MINUS = "−"
NOTHING = "–"  # what stands where there is no number


def percent(fraction: float, digits: int = 1) -> str:
    """0.6314 -> "63.1"; "–" where there is no number."""
    return NOTHING if not math.isfinite(fraction) else f"{100 * fraction:.{digits}f}".replace("-", MINUS)


def signed(fraction: float) -> str:
    """Points with their sign, 0.031 -> "+3.1", -0.004 -> "−0.4"; "–" where there is no number."""
    if not math.isfinite(fraction):
        return NOTHING
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def interval(bounds: tuple[float, float]) -> str:
    """(-0.004, 0.058) -> "−0.4 to +5.8"; "none" where neither bound is a number."""
    if not any(map(math.isfinite, bounds)):
        return "none"
    return f"{signed(bounds[0])} to {signed(bounds[1])}"


def thousands(count: int | None) -> str:
    """3414832 -> "3,414,832"."""
    return NOTHING if count is None else f"{count:,}"


def compact(value: float) -> str:
    """Three digits and the metric prefix: 20788920 -> "20.8 M", 0.0016 -> "1.6 m"; 0 is "0"."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    power = min(max(math.floor(math.log10(abs(value)) / 3), -3), 4)
    scaled = value / 1000**power
    if abs(float(f"{scaled:.3g}")) >= 1000 and power < 4:
        power, scaled = power + 1, scaled / 1000
    prefix = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}[power]
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)))) if abs(scaled) < 1000 else 0
    text = f"{scaled:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{scaled:.0f}"
    return f"{text} {prefix}".strip().replace("-", MINUS)


def listed(words: Sequence[str]) -> str:
    """["a", "b", "c"] -> "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(count: int, thing: str, things: str = "") -> str:
    """2, "video" -> "2 videos"."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def last_line(traceback: str) -> str:
    """What went wrong, without the way there."""
    lines = traceback.strip().splitlines()
    return lines[-1].strip() if lines else "no reason is recorded"


def sentences(text: str) -> list[str]:
    """A text cut after each full stop that a word follows; "3.1 points" stays whole."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Za-z])", text.strip())


def typeset(text: str) -> str:
    """Hyphens before numbers as minus signs; percent signs kept with their number."""
    return re.sub(r"(?<![\w-])-(?=\d)", MINUS, text).replace(" %", "\u00a0%")


def short_names(variants: Sequence[str], given: Collection[str] = ()) -> dict[str, str]:
    """Variant -> its text without the network, where all that are lifted share one network.

    A variant that is only a network, "linear probe", and the names that were given keep their text.
    """
    whole = {LINEAR_PROBE, *given}
    heads = {name: _network(name) for name in variants if _network(name) != name and name not in whole}
    if len(set(heads.values())) != 1:
        return {name: name for name in variants}
    return {name: name[len(heads[name]) :].strip() if name in heads else name for name in variants}


def shared_network(variants: Sequence[str], given: Collection[str] = ()) -> str:
    """The network that `short_names` left out; empty if it left out none."""
    short = short_names(variants, given)
    return next((_network(name) for name in variants if short[name] != name), "")


def given_names(study: Study) -> tuple[str, ...]:
    """The rows of a study that have names of their own: named variants, and fusions."""
    return (*(name for name, _ in study.names), *(row.name for row in study.fused))


def _network(variant: str) -> str:
    """Up to the first space outside parentheses."""
    depth = 0
    for place, letter in enumerate(variant):
        depth += (letter == "(") - (letter == ")")
        if letter == " " and not depth:
            return variant[:place]
    return variant
