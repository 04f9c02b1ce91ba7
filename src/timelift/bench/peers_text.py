"""The races as tables: for the terminal, and as Markdown for docs/performance.md."""

from collections.abc import Sequence
from math import isfinite

from timelift.bench.peer_calls import CONVOLUTION_FLOPS
from timelift.bench.rotation import Measured, Race

HEADINGS = (
    "",
    "least ms",
    "median ms",
    "spread",
    "times as fast",
    "by medians",
    "GFLOP/s",
    "of 3x3's",
    "MB resident",
    "MB live",
    "differs by",
)
LEGEND = (
    "The first row gives freed memory back, as PyTorch does; the others keep it (timelift.keep_memory). "
    "Least: the smallest of the turns; times as fast: the first row's least over this row's, and the same of "
    "the medians. Spread: quartile distance over median. GFLOP/s: nominal operations (two a multiply-add; a "
    "training step counts three forwards) over the least time; of 3x3's: that rate over the one of a 3 x 3 "
    "convolution of 256 channels timed in the same turns. MB resident: the most that the process held; MB "
    "live: the most that tensors held during a step, beyond what stays between steps. Differs by: the "
    "largest difference from the first row's answers, relative to the largest of these."
)


def table(race: Race) -> list[tuple[str, ...]]:
    """The headings, a row for every contender, one for each that is left out; no column without a figure."""
    found = [HEADINGS, *rows(race)]
    used = [i for i in range(len(HEADINGS)) if any(cells[i] for cells in found[1:])]
    return [tuple(cells[i] for i in used) for cells in found]


def rows(race: Race) -> list[tuple[str, ...]]:
    """A row of cells for every contender, as HEADINGS says; one with the reason for each that is left out."""
    first = race.measured[0]
    rate = next((_rate(one) for one in race.measured if one.contender.flops == CONVOLUTION_FLOPS), 0.0)
    return [_row(one, first, rate) for one in race.measured] + [
        (name, f"left out: {reason}", *[""] * (len(HEADINGS) - 2)) for name, reason in race.left_out.items()
    ]


def _row(one: Measured, first: Measured, rate: float) -> tuple[str, ...]:
    timed, of_network = one.timed, one.contender.compared and one.contender.flops > 0
    return (
        one.contender.name,
        f"{timed.minimum * 1e3:.1f}",
        f"{timed.median * 1e3:.1f}",
        f"{timed.spread:.0%}",
        f"{first.timed.minimum / timed.minimum:.2f}" if one.contender.compared else "",
        f"{first.timed.median / timed.median:.2f}" if one.contender.compared else "",
        f"{_rate(one) / 1e9:.0f}" if one.contender.flops else "",
        f"{_rate(one) / rate:.2f}" if of_network and rate else "",
        f"{one.resident_bytes / 2**20:.0f}",
        "" if one.live_bytes is None else f"{one.live_bytes / 2**20:.0f}",
        "" if one.difference is None else f"{one.difference:.0e}",
    )


def _rate(one: Measured) -> float:
    return one.contender.flops / one.timed.minimum


def complaints(race: Race) -> list[str]:
    """Contenders whose answers are not the first one's: their times say nothing."""
    allowed = _allowed(race)
    return [
        f"{race.case.name}: {one.contender.name} answers otherwise than {race.measured[0].contender.name}, "
        f"by {one.difference:.1e} of the largest (at most {allowed:.0e})"
        for one in race.measured
        if one.difference is not None and not one.difference <= allowed
    ]


def _allowed(race: Race) -> float:
    """How far answers may differ."""
    of_format = [one.difference for one in race.measured if one.contender.name == race.case.like]
    return max([race.case.tolerance, *(2 * far for far in of_format if far is not None and isfinite(far))])


def markdown(races: Sequence[Race], command: str, machine: str, turns: int) -> str:
    """A page: the command, the machine, and a table for every case."""
    parts = [
        "# Performance",
        f"    {command}",
        f"{machine}. {turns} turns; every contender in a process of its own, asked in rotation.",
        LEGEND,
    ]
    for race in races:
        headings, *cells = table(race)
        all_lines = [headings, ("---", *["---:"] * (len(headings) - 1)), *cells]
        lines = "\n".join(f"| {' | '.join(line)} |" for line in all_lines)
        parts += [f"## {race.case.title}", lines, *(f"**{line}**" for line in complaints(race))]
    return "\n\n".join(parts) + "\n"
