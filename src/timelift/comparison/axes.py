"""What varies in a study beside variant and seed: conditions, and what is chosen for a variant on validation.

A condition is a point that every variant is judged at: a number of training videos, a value of a recipe's
field. A choice is made for each variant and condition: the one with the best validation accuracy is judged.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from timelift.records.errors import UsageError
from timelift.records.recipe import Recipe, parse_recipe, recipe_to_dict

Values = tuple[object, ...]
Axes = tuple[
    tuple[str, Values], ...
]  # name -> values; "clip.frames" is a recipe's, "start" a variant's {start}
Point = tuple[tuple[str, object], ...]
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class AtKey(UsageError):
    """A complaint about one key of a study file, with its place there: "grid", the variant, the name."""

    def __init__(self, message: str, *keys: str):
        super().__init__(f"{'.'.join(keys)}: {message}")
        self.keys = keys


@dataclass(frozen=True)
class Condition:
    """One point of a study's axes: so many training videos a class, and fields of the recipe."""

    videos_per_class: int | None = None  # None: all
    fields: Point = ()

    def __str__(self) -> str:
        videos = () if self.videos_per_class is None else (("videos_per_class", self.videos_per_class),)
        return text_of((*videos, *self.fields))


@dataclass(frozen=True)
class Grid:
    """What is tried for a variant at a condition, each choice in so many runs, judged on validation videos.

    axes: for all variants. of: (variant, condition in words or "" for all, axes), in place of those of the
    same name; the more special wins. A single choice needs no run.
    """

    runs: int = 3
    axes: Axes = ()
    of: tuple[tuple[str, str, Axes], ...] = ()

    def choices(self, variant: str, condition: Condition) -> tuple[Point, ...]:
        """Every choice, one at least: () where nothing is to choose."""
        own = dict(self.axes)
        for special in ("", str(condition)):
            for name, where, axes in self.of:
                own |= dict(axes) if (name, where) == (variant, special) else {}
        return tuple(points(tuple((n, v) for n, v in own.items() if "." in n or f"{{{n}}}" in variant)))


def points(axes: Axes) -> Iterator[Point]:
    """All combinations, the last axis fastest."""
    names = [name for name, _ in axes]
    for values in itertools.product(*(values for _, values in axes)):
        yield tuple(zip(names, values, strict=True))


def text_of(point: Point) -> str:
    """(("training.learning_rate", 0.1), ("scale", 2)) -> "training.learning_rate=0.1, scale=2"."""
    return ", ".join(f"{name}={value}" for name, value in point)


def filled(variant: str, point: Point) -> str:
    """The variant with its placeholders: "Inflate(start='{start}')" -> "Inflate(start='zero')"."""
    for name, value in point:
        variant = variant.replace(f"{{{name}}}", str(value))
    return variant


def placeholders(variant: str) -> tuple[str, ...]:
    """The names in braces, each once."""
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(variant)))


def with_fields(recipe: Recipe, point: Point) -> Recipe:
    """The recipe with the fields of a point, those with a dot; the others are a variant's.

    Raises:
        UsageError: for a field that recipes do not have, or a value of the wrong kind.
    """
    told = recipe_to_dict(recipe)
    for name, value in point:
        table, dot, field = name.partition(".")
        if not dot:
            continue
        if table not in told:
            raise UsageError(f"a recipe has {', '.join(told)}, no {table}")
        told[table][field] = list(value) if isinstance(value, tuple) else value
    return parse_recipe(told)


def spread(variants: Sequence[str], axes: Axes) -> tuple[str, ...]:
    """The variants with the axes that are theirs filled in: every combination is a variant of its own."""
    return tuple(filled(variant, point) for variant in variants for point in points_of(variant, axes))


def points_of(variant: str, axes: Axes) -> Iterator[Point]:
    """All combinations of the axes of which the variant has placeholders; one of nothing for none."""
    return points(tuple((name, values) for name, values in axes if f"{{{name}}}" in variant))


def read_axes(table: object, *keys: str) -> Axes:
    """A TOML table of lists as axes; keys: the table's place in the file.

    Raises:
        AtKey: what came, what was wanted.
    """
    if not isinstance(table, Mapping):
        raise AtKey(f"{table!r} came; a table is wanted, such as start = ['zero', 'average']", *keys)
    axes = []
    for name, values in table.items():
        if not isinstance(values, list) or not values:
            raise AtKey(f"{values!r} came; a list of values is wanted", *keys, name)
        axes.append((name, tuple(_frozen(value) for value in values)))
    return tuple(axes)


def _frozen(value: object) -> object:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
