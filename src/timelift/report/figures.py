"""Pictures as inline SVG: text stays text, and every colour is a variable of the page's style sheet.

Drawn with matplotlib in marker colours that no picture would use, each then replaced by `var(--name)`: the
same picture is right in light and in dark.
"""

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from timelift.comparison.table import Row, StudyTable
from timelift.report.facts import Curve, Line
from timelift.report.words import interval, percent, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE, BAND, ACCENT, GOOD, BAD = (f"#0d0e0{i}" for i in range(7))
VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", BAND: "--band",
    ACCENT: "--accent", GOOD: "--good", BAD: "--bad",
}  # fmt: skip
LINES = [f"#0d1e0{i}" for i in range(5)]  # one a variant; then again, dashed
VARIABLES |= {colour: f"--line-{i}" for i, colour in enumerate(LINES)}
DASHES = ("-", "--", ":")
COLOURS = {"better": GOOD, "worse": BAD, "equivalent": ACCENT}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "timelift",
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDE, NARROW = 7.6, 3.7  # inches; a page shows the one that fits
ROW_INCHES = 0.52


def forest(table: StudyTable, names: dict[str, str], width: float) -> str:
    """Differences from the baseline with both intervals, a row a variant."""
    rows = [row for row in table.rows if row.difference is not None]
    alt = "; ".join(f"{names[row.variant]}: {_told(row)}" for row in rows)
    key = f"forest-{round(width * 10)}"
    return _draw(
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
    axes = _row_axes(figure, len(rows))
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
        _row_label(axes, place, names[row.variant], f"{signed(found.mean)}  {row.verdict}", colour)
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
    return _draw(
        lambda figure: _strips(figure, rows, names),
        (width, 0.75 + ROW_INCHES * len(rows)),
        f"strips-{round(width * 10)}",
        f"Accuracy of every run in percent. {alt}",
    )


def _strips(figure: "Figure", rows: Sequence[Row], names: dict[str, str]) -> None:
    axes = _row_axes(figure, len(rows))
    of_seed: dict[int, list[tuple[float, int]]] = {}
    for place, row in enumerate(rows):
        for seed, accuracy in zip(row.seeds, row.accuracies, strict=True):
            of_seed.setdefault(seed, []).append((100 * accuracy, place))
        colour = COLOURS.get(row.verdict, INK if row.is_baseline else MUTED)
        values = [100 * accuracy for accuracy in row.accuracies]
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=6, alpha=0.75, zorder=3)
        axes.plot([100 * row.mean] * 2, [place - 0.17, place + 0.17], color=colour, linewidth=2.2, zorder=4)
        _row_label(axes, place, names[row.variant], f"{percent(row.mean)} %", colour)
    for points in of_seed.values():
        axes.plot(*zip(*points, strict=True), color=RULE, linewidth=0.9, zorder=1)
    axes.margins(x=0.06)
    axes.set_xlabel("top-1 accuracy on the test videos, percent")


def learning_curves(name: str, key: str, curves: Sequence[Curve], highest_loss: float) -> str:
    """Loss and accuracy of one variant's runs by epoch; `highest_loss` is the same for all variants."""
    last = [f"seed {c.seed}: loss {c.loss[-1]:.2f}, {percent(c.accuracy[-1])} %" for c in curves if c.loss]
    return _draw(
        lambda figure: _curves(figure, curves, highest_loss),
        (4.4, 1.75),
        key,
        f"Learning curves of {name}. Training at the last epoch: {'; '.join(last)}",
    )


def over_videos(lines: Sequence[Line], names: dict[str, str]) -> str:
    """Accuracy against the number of training videos, a line a variant (Ras et al. 2018, figure 3)."""
    told = "; ".join(f"{names[line.variant]}: {', '.join(map(percent, line.means))}" for line in lines)
    return _draw(
        lambda figure: _over_videos(figure, lines, names),
        (WIDE, 4.2),
        "over-videos",
        f"Accuracy in percent against the number of training videos, {lines[0].videos}. {told}",
    )


def _over_videos(figure: "Figure", lines: Sequence[Line], names: dict[str, str]) -> None:
    axes = figure.add_subplot()
    for place, line in enumerate(lines):
        colour, dash = LINES[place % len(LINES)], DASHES[place // len(LINES) % len(DASHES)]
        means = [100 * value for value in line.means]
        low, high = ([100 * bounds[side] for bounds in line.bands] for side in (0, 1))
        axes.fill_between(line.videos, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(line.videos, means, dash, marker="o", markersize=4, color=colour, label=names[line.variant])
        starred = [
            (x, 100 * top)
            for x, (_, top), star in zip(line.videos, line.bands, line.stars, strict=True)
            if star
        ]
        for x, top in starred:
            axes.annotate("*", (x, top), ha="center", va="bottom", color=colour, fontsize=13)
    axes.set_xscale("log")
    ticks = sorted({count for line in lines for count in line.videos})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training videos")
    axes.set_ylabel("top-1 accuracy, percent")
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.legend(frameon=False, loc="best", labelcolor=INK)
    figure.tight_layout(pad=0.4)


def _curves(figure: "Figure", curves: Sequence[Curve], highest_loss: float) -> None:
    left, right = figure.subplots(1, 2)
    for curve in curves:
        style: dict[str, Any] = {"linewidth": 1.1, "alpha": 0.8}
        if len(curve.epochs) == 1:
            style["marker"] = "o"
        left.plot(curve.epochs, curve.loss, color=MUTED, **style)
        right.plot(curve.epochs, [100 * a for a in curve.accuracy], color=MUTED, **style)
        if curve.validation:
            epochs, values = zip(*curve.validation, strict=True)
            right.plot(epochs, [100 * v for v in values], color=ACCENT, **style)
    left.set_ylim(0, 1.05 * highest_loss)
    right.set_ylim(0, 104)
    left.set_title("loss", loc="left", fontsize=9, color=MUTED)
    right.set_title("accuracy, %", loc="left", fontsize=9, color=MUTED)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True, nbins=5)
        axes.locator_params(axis="y", nbins=4)
        axes.grid(axis="y", color=RULE, linewidth=0.5)
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
    figure.tight_layout(pad=0.3, w_pad=1.6)


def _row_axes(figure: "Figure", count: int) -> "Axes":
    axes = figure.add_axes((0.015, 0.58 / figure.get_figheight(), 0.97, 1 - 0.62 / figure.get_figheight()))
    axes.set_ylim(count - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=3)
    return axes


def _row_label(axes: "Axes", place: int, name: str, value: str, colour: str) -> None:
    """The name above its row at the left, the number at the right."""
    room = int(axes.get_figure().get_figwidth() * 13.5) - len(value)  # type: ignore[union-attr]
    told = name if len(name) <= room else name[: room - 1] + "…"
    where = axes.get_yaxis_transform()
    axes.text(0, place - 0.33, told, transform=where, va="center", ha="left", zorder=5)
    axes.text(1, place - 0.33, value, transform=where, va="center", ha="right", color=colour, zorder=5)


def _draw(paint: Callable[["Figure"], None], inches: tuple[float, float], key: str, alt: str) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=inches)
        paint(figure)
        figure.savefig(text, format="svg", transparent=True)
    return _inlined(text.getvalue(), key, alt)


def _inlined(svg: str, key: str, alt: str) -> str:
    """The <svg> element alone, with ids of its own, colours as variables, and its text for who cannot see."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{key}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, name in VARIABLES.items():
        body = body.replace(colour, f"var({name})")
    box = re.search(r'viewBox="[^"]+"', body)
    assert box is not None  # matplotlib always writes one
    told = html.escape(alt, quote=True)
    opening = f'<svg {box[0]} role="img" aria-label="{told}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return re.sub(r"^<svg[^>]*>", lambda _: opening, body)
