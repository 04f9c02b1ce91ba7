"""Rows of a study that are no runs of their own: variants fused, run i of each with run i of the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from timelift.comparison.axes import AtKey
from timelift.comparison.fuse import METHODS, check_weights
from timelift.records.errors import UsageError


@dataclass(frozen=True)
class FusedRow:
    """A name, the variants, how (`timelift fuse --method`), and the weights where they have any."""

    name: str
    of: tuple[str, ...]
    method: str = "mean"
    weights: tuple[float, ...] = ()

    def renamed(self, names: Mapping[str, str]) -> "FusedRow":
        """With the variants' other names."""
        return FusedRow(self.name, tuple(names.get(one, one) for one in self.of), self.method, self.weights)


def read_fused(table: object, variants: tuple[str, ...]) -> tuple[FusedRow, ...]:
    """The table [fused] of a study file: name -> of, method, weights.

    Raises:
        AtKey: what came, what was wanted.
    """
    if not isinstance(table, Mapping):
        raise AtKey(f"{table!r} came; a table is wanted: [fused.NAME] with of = [...]", "fused")
    return tuple(_read_row(name, values, variants) for name, values in table.items())


def _read_row(name: str, values: object, variants: tuple[str, ...]) -> FusedRow:
    if not isinstance(values, Mapping):
        raise AtKey(f"{values!r} came; a table is wanted, such as of = [...]", "fused", name)
    for key in values:
        if key not in ("of", "method", "weights"):
            raise AtKey("unknown; known are of, method, weights", "fused", name, key)
    if name in variants:
        raise AtKey("is a variant; give the fusion another name", "fused", name)
    of, method, weights = values.get("of"), values.get("method", "mean"), values.get("weights", [])
    if not isinstance(of, list) or len(of) < 2:
        raise AtKey(f"{of!r} came; a list of two or more of the variants is wanted", "fused", name, "of")
    for variant in of:
        if variant not in variants:
            raise AtKey(f"{variant!r} is not one of the variants", "fused", name, "of")
    if method not in METHODS:
        raise AtKey(f"{method!r} came; {', '.join(METHODS)} are known", "fused", name, "method")
    numbers = isinstance(weights, list) and all(type(weight) in (int, float) for weight in weights)
    if not numbers or (weights and method != "weighted"):
        wanted = "one number a variant" if method == "weighted" else "nothing, unless method is weighted,"
        raise AtKey(f"{weights!r} came; {wanted} is wanted", "fused", name, "weights")
    if method == "weighted":
        try:
            check_weights(weights, len(of))
        except UsageError as error:
            raise AtKey(str(error), "fused", name, "weights") from error
    return FusedRow(name, tuple(of), method, tuple(map(float, weights)))
