"""Average ranks of many variants with their critical difference: a view (Demsar 2006), not the verdict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timelift.comparison.ranks import Ranking, rank_variants
from timelift.comparison.table import StudyTable
from timelift.report.drawing import ACCENT, INK, MUTED, RULE, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST_VARIANTS, FEWEST_RUNS = 4, 3
ROW_INCHES = 0.42


@dataclass(frozen=True)
class Ranked:
    """Variants as the columns of what was ranked."""

    variants: tuple[str, ...]
    ranking: Ranking

    @property
    def best_first(self) -> list[int]:
        """Columns in order of rank."""
        return np.argsort(self.ranking.ranks, kind="stable").tolist()


def ranked_runs(table: StudyTable) -> Ranked | None:
    """Variants ranked within each seed that all have; None for fewer than 4 variants or 3 such seeds.

    None, too, while cells are open: what is told apart is told once, when the stated runs end.
    """
    rows = [row for row in table.rows if row.runs and not row.is_probe]
    if table.open or len(rows) < FEWEST_VARIANTS:
        return None
    scores = [dict(zip(row.seeds, row.accuracies, strict=True)) for row in rows]
    seeds = sorted(set.intersection(*(set(of) for of in scores)))
    if len(seeds) < FEWEST_RUNS:
        return None
    blocks = np.array([[of[seed] for of in scores] for seed in seeds])
    return Ranked(tuple(row.variant for row in rows), rank_variants(blocks, table.alpha))


def ranks_picture(ranked: Ranked, names: dict[str, str], width: float) -> str:
    """A row a variant, best first; a bar at the right joins variants that are not told apart."""
    told = "; ".join(f"{names[ranked.variants[i]]}: {ranked.ranking.ranks[i]:.2f}" for i in ranked.best_first)
    joined = "; ".join(
        ", ".join(names[ranked.variants[i]] for i in group)
        for group in ranked.ranking.groups
        if len(group) > 1
    )
    return draw(
        lambda figure: _paint(figure, ranked, names),
        (width, 1.15 + ROW_INCHES * len(ranked.variants)),
        f"ranks-{round(width * 10)}",
        f"Average ranks, 1 is best. {told}. Not told apart: {joined or 'none'}",
    )


def _paint(figure: "Figure", ranked: Ranked, names: dict[str, str]) -> None:
    count, height = len(ranked.variants), figure.get_figheight()
    axes = figure.add_axes((0.03, 0.58 / height, 0.94, 1 - 0.62 / height))
    axes.set_ylim(count - 0.4, -1.6)
    axes.set_xlim(0.8, count + 0.35 + 0.12 * len(ranked.ranking.groups))
    axes.set_xticks(range(1, count + 1))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=3)
    axes.set_xlabel("average rank, 1 is best")
    _scale(axes, ranked.ranking.critical_difference)
    place = {column: row for row, column in enumerate(ranked.best_first)}
    for column, row in place.items():
        rank, name = ranked.ranking.ranks[column], names[ranked.variants[column]]
        room = int(figure.get_figwidth() * 11)
        told = name if len(name) <= room else name[: room - 1] + "…"
        axes.plot([1, rank], [row, row], color=RULE, linewidth=0.9, zorder=1)
        axes.plot(rank, row, "o", color=INK, markersize=7, zorder=3)
        axes.text(1, row - 0.36, f"{rank:.2f}  {told}", va="center", ha="left", zorder=4)
    for step, group in enumerate(group for group in ranked.ranking.groups if len(group) > 1):
        ends = [place[group[0]] - 0.12, place[group[-1]] + 0.12]
        at = count + 0.25 + 0.12 * step
        axes.plot([at, at], ends, color=ACCENT, linewidth=3.5, solid_capstyle="round", zorder=2)


def _scale(axes: "Axes", difference: float) -> None:
    """How long the critical difference is, above the rows."""
    end = min(1 + difference, axes.get_xlim()[1])
    axes.plot([1, end], [-1, -1], color=MUTED, linewidth=1.4, marker="|", markersize=7)
    axes.text(1, -1.34, f"critical difference {difference:.2f}", color=MUTED, va="center", ha="left")
