"""Accuracy against what a variant costs: a panel for parameters, multiply-adds and latency."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from timelift.comparison.wording import amount
from timelift.report.costs import CostPoint
from timelift.report.drawing import BAND, COLOURS, INK, MUTED, RULE, WIDE, draw
from timelift.report.words import compact, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADINGS = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds of a clip",
    "latency_ms": "latency of a clip, ms",
}
LOG_FROM = 8.0  # largest over smallest cost
MARKER_INCHES = 0.17
PANEL_INCHES = 2.5  # height of the axes
LEFT, RIGHT, BELOW, ABOVE = 0.52, 0.26, 0.5, 0.1  # inches around the axes


def accuracy_by_cost(points: dict[str, list[CostPoint]], names: dict[str, str], width: float) -> str:
    """Numbered points, a panel a measure: side by side on a wide page, one below another on a narrow one."""
    told = "; ".join(
        f"{HEADINGS[measure]}: "
        + ", ".join(f"{names[p.row.variant]} {_told(measure, p.cost)} at {percent(p.row.mean)} %" for p in of)
        for measure, of in points.items()
    )
    across = len(points) if width >= WIDE else 1
    down = math.ceil(len(points) / across)
    return draw(
        lambda figure: _panels(figure, points, across, down),
        (width, down * (PANEL_INCHES + BELOW + ABOVE)),
        f"cost-{round(width * 10)}",
        f"Accuracy in percent against cost. {told}",
    )


def _told(measure: str, cost: float) -> str:
    return amount(cost) if measure == "latency_ms" else compact(cost)


def _panels(figure: "Figure", points: dict[str, list[CostPoint]], across: int, down: int) -> None:
    limits = _accuracy_limits([point for of in points.values() for point in of])
    for place, (measure, of) in enumerate(points.items()):
        row, column = divmod(place, across)
        box = _box(figure, across, down, row, column)
        axes = figure.add_axes(box)
        inches = box[2] * figure.get_figwidth(), box[3] * figure.get_figheight()
        _panel(axes, of, limits, inches)
        _cost_ticks(axes, measure)
        axes.set_xlabel(HEADINGS[measure])
        if column == 0:
            axes.set_ylabel("top-1 accuracy, percent")
        else:
            axes.tick_params(labelleft=False)


def _box(
    figure: "Figure", across: int, down: int, row: int, column: int
) -> tuple[float, float, float, float]:
    """(left, bottom, width, height) of a panel's axes, as shares of the figure."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    each = (width - LEFT - across * RIGHT) / across
    left = LEFT + column * (each + RIGHT)
    bottom = height - (row + 1) * (PANEL_INCHES + BELOW + ABOVE) + BELOW
    return left / width, bottom / height, each / width, PANEL_INCHES / height


def _panel(
    axes: "Axes", points: Sequence[CostPoint], limits: tuple[float, float], inches: tuple[float, float]
) -> None:
    is_log = _is_wide([point.cost for point in points])
    if is_log:
        axes.set_xscale("log")
    left, right = _cost_limits(points, is_log)
    axes.set_xlim(left, right)
    axes.set_ylim(*limits)
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.tick_params(length=3, labelsize=8.5)
    extents = [_extent(point, limits, inches[1]) for point in points]
    across = [_share(point.cost, left, right, is_log) * inches[0] for point in points]
    for point, where in zip(points, dodged(across, extents, MARKER_INCHES), strict=True):
        _point(axes, point, _value(where / inches[0], left, right, is_log))


def _point(axes: "Axes", point: CostPoint, x: float) -> None:
    row = point.row
    colour = INK if row.is_baseline else COLOURS.get(row.verdict, MUTED)
    low, high = (100 * bound for bound in row.mean_interval)
    axes.plot([x, x], [low, high], color=colour, linewidth=1.3, zorder=2)
    if point.spread[0] < point.spread[1]:
        axes.plot(point.spread, [100 * row.mean] * 2, color=colour, linewidth=1.3, zorder=2)
    size = 72 * MARKER_INCHES - 1
    marker = "D" if row.is_probe else "o"
    axes.plot(
        x, 100 * row.mean, marker, markersize=size, color=BAND, markeredgecolor=colour,
        markeredgewidth=2.4 if row.is_baseline else 1.4, zorder=3,
    )  # fmt: skip
    axes.text(x, 100 * row.mean, f"{point.number}", ha="center", va="center_baseline", fontsize=8, zorder=4)


def dodged(across: Sequence[float], extents: Sequence[tuple[float, float]], least: float) -> list[float]:
    """Where points go so that none lies on another: moved sideways by whole multiples of `least`, or not.

    across: where each belongs; extents: (low, high) of each, whisker and marker. Two whose extents overlap
    stand at least `least` apart. All in inches.
    """
    placed: list[float] = []
    for wanted, (low, high) in zip(across, extents, strict=True):
        taken = [
            there
            for there, (other_low, other_high) in zip(placed, extents, strict=False)
            if low < other_high and other_low < high
        ]
        steps = sorted(range(-len(across), len(across) + 1), key=lambda step: (abs(step), -step))
        free = (wanted + step * least for step in steps)
        placed.append(next(x for x in free if all(abs(x - there) >= least - 1e-9 for there in taken)))
    return placed


def _extent(point: CostPoint, limits: tuple[float, float], inches: float) -> tuple[float, float]:
    """(low, high) in inches of a whisker with its marker, from the bottom of the axes."""
    scale = inches / (limits[1] - limits[0])
    low, high = (100 * bound for bound in point.row.mean_interval)
    middle = (100 * point.row.mean - limits[0]) * scale
    reach = MARKER_INCHES / 2
    return min((low - limits[0]) * scale, middle - reach), max((high - limits[0]) * scale, middle + reach)


def _is_wide(costs: Sequence[float]) -> bool:
    return min(costs) > 0 and max(costs) / min(costs) >= LOG_FROM


def _accuracy_limits(points: Sequence[CostPoint]) -> tuple[float, float]:
    ends = [100 * min(max(bound, 0.0), 1.0) for p in points for bound in (*p.row.mean_interval, p.row.mean)]
    room = 0.12 * (max(ends) - min(ends)) + 0.5
    return min(ends) - room, max(ends) + room


def _cost_limits(points: Sequence[CostPoint], is_log: bool) -> tuple[float, float]:
    ends = [bound for point in points for bound in (point.cost, *point.spread)]
    if is_log:
        room = (max(ends) / min(ends)) ** 0.18
        return min(ends) / room, max(ends) * room
    room = 0.18 * (max(ends) - min(ends)) or 0.2 * max(ends) or 1.0
    return min(ends) - room, max(ends) + room


def _share(cost: float, left: float, right: float, is_log: bool) -> float:
    return math.log(cost / left) / math.log(right / left) if is_log else (cost - left) / (right - left)


def _value(share: float, left: float, right: float, is_log: bool) -> float:
    return left * (right / left) ** share if is_log else left + share * (right - left)


def _cost_ticks(axes: "Axes", measure: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    left, right = axes.get_xlim()
    if axes.get_xscale() == "log":
        subs = (1.0,) if right / left > 300 else (1.0, 3.0)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _told(measure, value)))
