"""Time several ways of one thing against each other, turn by turn, so that a busy machine slows all alike."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Contest:
    """Ways of one thing, by name: calls without arguments. The first is what the others are held against."""

    title: str
    ways: Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Timed:
    """One way: the seconds of a call in every turn, and those of the first way in the same turns."""

    name: str
    seconds: tuple[float, ...]
    first_seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        """Of the seconds: what the machine can do when nothing disturbs it."""
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """The distance between the quartiles of the seconds, as a part of their median."""
        low, high = quartiles(self.seconds)
        return (high - low) / self.median

    @property
    def ratios(self) -> tuple[float, ...]:
        """This way's seconds over the first way's, turn by turn: 2.0 takes twice as long."""
        return tuple(own / first for own, first in zip(self.seconds, self.first_seconds, strict=True))

    @property
    def ratio(self) -> tuple[float, float, float]:
        """(median, lower quartile, upper quartile) of the ratios."""
        return statistics.median(self.ratios), *quartiles(self.ratios)


@dataclass(frozen=True)
class Outcome:
    """A contest's end: what was timed, and every way's times, the first way's first."""

    title: str
    ways: tuple[Timed, ...]


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """The lower and the upper: a quarter of the values lies outside each; of one value, that value twice."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def measure(
    contest: Contest,
    turns: int,
    least_seconds: float = 0.02,
    clock: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Every way in every turn, after two calls that are not counted: allocations, and how long one takes.

    A turn calls a way again until about `least_seconds` have passed, and counts one call's share.

    Raises:
        ValueError: for fewer than one turn.
    """
    if turns < 1:
        raise ValueError(f"{turns} turns: a time needs at least one")
    calls = {}
    for name, way in contest.ways.items():
        way()
        calls[name] = max(1, math.ceil(least_seconds / max(_seconds(way, 1, clock), 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in contest.ways}
    for _ in range(turns):
        for name, way in contest.ways.items():
            seconds[name].append(_seconds(way, calls[name], clock))
    first = tuple(next(iter(seconds.values())))
    return Outcome(contest.title, tuple(Timed(name, tuple(own), first) for name, own in seconds.items()))


def _seconds(way: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    """One call's share of so many."""
    started = clock()
    for _ in range(calls):
        way()
    return (clock() - started) / calls
