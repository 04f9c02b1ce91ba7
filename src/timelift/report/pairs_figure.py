"""Differences from the baseline seed by seed: a line and a dot each, so that a reader sees the pairing."""

from typing import TYPE_CHECKING

from timelift.comparison.table import StudyTable
from timelift.report.drawing import BAND, COLOURS, MUTED, RULE, draw
from timelift.report.figures import row_label
from timelift.report.pairs import Pairs, paired_differences
from timelift.report.words import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_INCHES, LAST, BELOW = 0.34, 0.06, 0.52
MOST_NAMED_SEEDS = 10  # beyond it, lines stand too close for their numbers


def pair_by_pair(table: StudyTable, names: dict[str, str], width: float) -> str:
    """A block a variant, in it a line a seed from 0 to its difference, in the same order everywhere."""
    pairs = paired_differences(table)
    seeds = sorted({seed for of in pairs.values() for seed, _ in of})
    step = 0.125 if len(seeds) <= MOST_NAMED_SEEDS else 0.06
    block = NAME_INCHES + step * len(seeds)
    told = "; ".join(
        f"{names[name]}: " + ", ".join(f"seed {seed} {signed(d)}" for seed, d in of)
        for name, of in pairs.items()
    )
    return draw(
        lambda figure: _blocks(figure, table, pairs, names, seeds, step),
        (width, BELOW + block * len(pairs) + LAST),
        f"pairs-{round(width * 10)}",
        f"Differences from {names[table.baseline]} by seed, in points. {told}",
    )


def _blocks(
    figure: "Figure",
    table: StudyTable,
    pairs: dict[str, Pairs],
    names: dict[str, str],
    seeds: list[int],
    step: float,
) -> None:
    """Heights are inches from the top, so that a seed's line stands at the same place in every block."""
    height = figure.get_figheight()
    axes = figure.add_axes((0.015, BELOW / height, 0.97, 1 - BELOW / height))
    axes.set_ylim(height - BELOW, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvspan(-100 * table.margin, 100 * table.margin, color=BAND, linewidth=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    verdicts = {row.variant: row.verdict for row in table.rows}
    for place, (name, of) in enumerate(pairs.items()):
        top = place * (NAME_INCHES + step * len(seeds))
        colour = COLOURS.get(verdicts[name], MUTED)
        above = sum(difference > 0 for _, difference in of)
        row_label(axes, top + 0.16 + 0.33, names[name], f"above in {above} of {len(of)}", colour)
        heights = {seed: top + NAME_INCHES + step * (i + 0.3) for i, seed in enumerate(seeds)}
        _lines(axes, of, heights, colour)
    axes.margins(x=0.09)
    axes.set_xlabel("points better than the baseline, seed by seed")


def _lines(axes: "Axes", pairs: Pairs, heights: dict[int, float], colour: str) -> None:
    few = len(heights) <= MOST_NAMED_SEEDS
    for seed, difference in pairs:
        x, y = 100 * difference, heights[seed]
        axes.plot([0, x], [y, y], color=colour if few else RULE, linewidth=0.9, zorder=2)
        axes.plot(x, y, "o", color=colour, markersize=5 if few else 3.4, zorder=3)
        if few:
            side = 1 if x >= 0 else -1
            axes.annotate(
                f"{seed}", (x, y), (6 * side, 0), textcoords="offset points", fontsize=6.5, color=MUTED,
                ha="left" if side > 0 else "right", va="center", zorder=5,
            )  # fmt: skip
    mean = 100 * sum(difference for _, difference in pairs) / len(pairs)
    ends = [heights[pairs[0][0]] - 0.07, heights[pairs[-1][0]] + 0.07]
    axes.plot([mean, mean], ends, color=colour, linewidth=2.2, zorder=4)
