"""One architecture in one call: what became of it, also when it failed."""

from timelift.zoo.build import family
from timelift.zoo.numbers import numbers_of
from timelift.zoo.record import Numbers, Record, Shapes
from timelift.zoo.shapes import shapes_of


def lift_one(kind: str, name: str) -> Record:
    """Its shapes ("shapes") or its numbers ("numbers"); an exception is recorded, never hidden."""
    try:
        return shapes_of(name) if kind == "shapes" else numbers_of(name)
    except Exception as error:  # whatever a network of the zoo raises is what became of it
        return failure(kind, name, f"{type(error).__name__}: {error}")


def failure(kind: str, name: str, why: str) -> Record:
    """The record of an architecture that gave no answer."""
    said = " ".join(why.split())[:400]
    return Shapes(name, family(name), error=said) if kind == "shapes" else Numbers(name, error=said)
