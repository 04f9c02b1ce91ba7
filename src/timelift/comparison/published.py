"""A paper's own figures, to stand beside a study's: given in its file, and no part of its protocol."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from timelift.records.errors import UsageError


@dataclass(frozen=True)
class Figure:
    """One cell of a published table; fractions."""

    mean: float
    standard_error: float | None = None  # None: not published


@dataclass(frozen=True)
class Published:
    """A published table: (variant, condition in words or "" where there is one only, figure)."""

    source: str  # "Ras et al. 2018, Table 2"
    cells: tuple[tuple[str, str, Figure], ...] = ()

    def at(self, condition: str) -> "Published":
        """What is published for one condition, which is then the only one."""
        return dataclasses.replace(
            self, cells=tuple((variant, "", figure) for variant, at, figure in self.cells if at == condition)
        )

    def of(self, variant: str) -> Figure | None:
        """The figure of a variant, where there is one condition."""
        return next((figure for name, at, figure in self.cells if (name, at) == (variant, "")), None)

    def renamed(self, names: Mapping[str, str]) -> "Published":
        """With other names of variants; one without another name keeps its own."""
        return dataclasses.replace(
            self, cells=tuple((names.get(variant, variant), at, figure) for variant, at, figure in self.cells)
        )


def read_published(table: object, variants: Collection[str], conditions: Collection[str]) -> Published:
    """The `[published]` table of a study file: a source, and a table of figures for each variant.

    conditions: all of the study, in words. Where there is one only, a variant's figure may stand alone:
    "i3d" = [0.845, 0.004].

    Raises:
        UsageError: 'published."VARIANT"."CONDITION": what came, what was wanted'.
    """
    if not isinstance(table, dict):
        raise UsageError(
            f"published: {table!r} came; a table with source and the variants' figures is wanted"
        )
    source = table.get("source")
    if not isinstance(source, str) or not source.strip():
        raise UsageError(
            'published: source is missing; say where from, as source = "Ras et al. 2018, Table 2"'
        )
    cells: list[tuple[str, str, Figure]] = []
    for variant, figures in table.items():
        if variant == "source":
            continue
        key = f'published."{variant}"'
        if variant not in variants:
            raise UsageError(f"{key}: not one of the variants, which are {'; '.join(variants)}")
        if not isinstance(figures, dict):
            figures = {next(iter(conditions)) if len(conditions) == 1 else "": figures}
        for condition, value in figures.items():
            if condition not in conditions:
                raise UsageError(f'{key}."{condition}": no condition; there are {"; ".join(conditions)}')
            cells.append((variant, condition, _figure(f'{key}."{condition}"', value)))
    return Published(source, tuple(cells))


def _figure(key: str, value: object) -> Figure:
    numbers = value if isinstance(value, list) else []
    if not all(type(one) in (int, float) for one in numbers) or len(numbers) not in (1, 2):
        raise UsageError(f"{key}: {value!r} came; [mean, standard error] or [mean] is wanted, as fractions")
    mean, *error = map(float, numbers)
    if not 0 <= mean <= 1 or not all(0 <= one <= 1 for one in error):
        raise UsageError(f"{key}: {value!r} came; fractions from 0 to 1 are wanted, 0.571 for 57.1 %")
    return Figure(mean, error[0] if error else None)
