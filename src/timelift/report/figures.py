"""Pictures with a row a variant: the differences with their intervals, and every run's accuracy."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from timelift.comparison.table import Row, StudyTable
from timelift.report.drawing import (
    BAND,
    COLOURS,
    INK,
    MUTED,
    RULE,
    draw,
)
from timelift.report.words import interval, percent, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_INCHES = 0.52


def forest(table: StudyTable, names: dict[str, str], width: float) -> str:
    """Differences from the baseline with both intervals, a row a variant."""
    rows = [row for row in table.rows if row.difference is not None]
    alt = "; ".join(f"{names[row.variant]}: {_told(row)}" for row in rows)
    key = f"forest-{round(width * 10)}"
    return draw(
        lambda figure: _forest(figure, rows, table.margin, names),
        (width, 0.75 + ROW_INCHES * len(rows)),
        key,
        f"Differences from {names[table.baseline]} in points. {alt}",
    )


def _told(row: Row) -> str:
    found = row.difference
    assert found is not None
    return (
        f"{signed(found.mean)}, new videos {interval(found.interval)}, these videos "
        f"{interval(found.interval_seeds)}, {row.verdict}"
    )


def _forest(figure: "Figure", rows: Sequence[Row], margin: float, names: dict[str, str]) -> None:
    axes = row_axes(figure, len(rows))
    axes.axvspan(-100 * margin, 100 * margin, color=BAND, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    left, right = _limits(rows, margin)
    axes.set_xlim(left, right)
    for place, row in enumerate(rows):
        found = row.difference
        assert found is not None
        colour = COLOURS.get(row.verdict, MUTED)
        for bounds, thickness in ((found.interval, 1.4), (found.interval_seeds, 4.5)):
            _bar(axes, place, bounds, (left, right), thickness, colour)
        sure = row.verdict in COLOURS
        axes.plot(
            100 * found.mean, place, "D" if row.is_probe else "o", markersize=7 if row.is_probe else 8.5,
            color=colour if sure else BAND, markeredgecolor=colour, markeredgewidth=1.6, zorder=4,
        )  # fmt: skip
        row_label(axes, place, names[row.variant], f"{signed(found.mean)}  {row.verdict}", colour)
    axes.set_xlabel("points better than the baseline")


def _bar(
    axes: "Axes",
    place: int,
    bounds: tuple[float, float],
    limits: tuple[float, float],
    thickness: float,
    colour: str,
) -> None:
    """An interval; a bound beyond the axis ends in an arrow head, and one without any bound is not drawn."""
    if not any(map(math.isfinite, bounds)):
        return
    low, high = (min(max(100 * bound, limits[0]), limits[1]) for bound in bounds)
    axes.plot(
        [low, high], [place, place], color=colour, linewidth=thickness, solid_capstyle="round", zorder=3
    )
    for end, bound, marker in ((low, bounds[0], "<"), (high, bounds[1], ">")):
        if 100 * bound != end:
            axes.plot(end, place, marker, color=colour, markersize=5, clip_on=False)


def _limits(rows: Sequence[Row], margin: float) -> tuple[float, float]:
    ends = [100 * margin, -100 * margin]
    for row in rows:
        found = row.difference
        assert found is not None
        ends += [100 * v for v in (found.mean, *found.interval, *found.interval_seeds) if math.isfinite(v)]
    span = max(ends) - min(ends)
    return min(ends) - 0.06 * span, max(ends) + 0.06 * span


def strips(table: StudyTable, names: dict[str, str], width: float) -> str:
    """Every run's accuracy, a row a variant; runs of one seed are joined."""
    rows = [row for row in table.rows if row.runs]
    alt = "; ".join(f"{names[row.variant]}: {', '.join(map(percent, row.accuracies))}" for row in rows)
    return draw(
        lambda figure: _strips(figure, rows, names),
        (width, 0.75 + ROW_INCHES * len(rows)),
        f"strips-{round(width * 10)}",
        f"Accuracy of every run in percent. {alt}",
    )


def _strips(figure: "Figure", rows: Sequence[Row], names: dict[str, str]) -> None:
    axes = row_axes(figure, len(rows))
    of_seed: dict[int, list[tuple[float, int]]] = {}
    for place, row in enumerate(rows):
        for seed, accuracy in zip(row.seeds, row.accuracies, strict=True):
            of_seed.setdefault(seed, []).append((100 * accuracy, place))
        colour = COLOURS.get(row.verdict, INK if row.is_baseline else MUTED)
        values = [100 * accuracy for accuracy in row.accuracies]
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=6, alpha=0.75, zorder=3)
        axes.plot([100 * row.mean] * 2, [place - 0.17, place + 0.17], color=colour, linewidth=2.2, zorder=4)
        row_label(axes, place, names[row.variant], f"{percent(row.mean)} %", colour)
    for points in of_seed.values():
        axes.plot(*zip(*points, strict=True), color=RULE, linewidth=0.9, zorder=1)
    axes.margins(x=0.06)
    axes.set_xlabel("top-1 accuracy on the test videos, percent")


def row_axes(figure: "Figure", count: int) -> "Axes":
    """Axes with so many rows from the top, numbered from 0, and names above them."""
    axes = figure.add_axes((0.015, 0.58 / figure.get_figheight(), 0.97, 1 - 0.62 / figure.get_figheight()))
    axes.set_ylim(count - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=3)
    return axes


def row_label(axes: "Axes", place: float, name: str, value: str, colour: str) -> None:
    """The name above its row at the left, the number at the right."""
    room = int(axes.get_figure().get_figwidth() * 13.5) - len(value)  # type: ignore[union-attr]
    told = name if len(name) <= room else name[: room - 1] + "…"
    where = axes.get_yaxis_transform()
    axes.text(0, place - 0.33, told, transform=where, va="center", ha="left", zorder=5)
    axes.text(1, place - 0.33, value, transform=where, va="center", ha="right", color=colour, zorder=5)
