"""Pictures of curves: learning by epoch, and accuracy over the number of training videos."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from timelift.report.curves import Curve, Line
from timelift.report.drawing import ACCENT, DASHES, INK, LINES, MUTED, RULE, WIDE, draw
from timelift.report.words import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(name: str, key: str, curves: Sequence[Curve], highest_loss: float) -> str:
    """Loss and accuracy of one variant's runs by epoch; `highest_loss` is the same for all variants."""
    last = [f"seed {c.seed}: loss {c.loss[-1]:.2f}, {percent(c.accuracy[-1])} %" for c in curves if c.loss]
    return draw(
        lambda figure: _curves(figure, curves, highest_loss),
        (4.4, 1.75),
        key,
        f"Learning curves of {name}. Training at the last epoch: {'; '.join(last)}",
    )


def over_videos(lines: Sequence[Line], names: dict[str, str], key: str, width: float) -> str:
    """Accuracy against the number of training videos, a line a variant (Ras et al. 2018, figure 3)."""
    told = "; ".join(f"{names[line.variant]}: {', '.join(map(percent, line.means))}" for line in lines)
    return draw(
        lambda figure: _over_videos(figure, lines, names),
        (width, 4.2),
        f"{key}-{round(width * 10)}",
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
    lowest, highest = axes.get_ylim()
    axes.set_ylim(max(lowest, -2), min(highest, 104))  # the band of few runs may leave what accuracy can be
    axes.set_xscale("log")
    ticks = sorted({count for line in lines for count in line.videos})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training videos")
    axes.set_ylabel("top-1 accuracy, percent")
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    figure.tight_layout(pad=0.4)
    if figure.get_figwidth() >= WIDE:
        axes.legend(frameon=False, loc="best", labelcolor=INK)
    else:  # names would cover the curves
        figure.legend(frameon=False, loc="lower left", labelcolor=INK, fontsize=8)
        figure.subplots_adjust(bottom=(0.6 + 0.19 * len(lines)) / figure.get_figheight())


def _curves(figure: "Figure", curves: Sequence[Curve], highest_loss: float) -> None:
    left, right = figure.subplots(1, 2)
    for curve in curves:
        style: dict[str, Any] = {"linewidth": 1.1, "alpha": 0.8}
        if len(curve.epochs) == 1:
            style["marker"] = "o"
        gid = f"seed-{curve.seed}"  # of the line that a list of runs leads to
        left.plot(curve.epochs, curve.loss, color=MUTED, **style)
        style["gid"] = gid
        if curve.validation:
            right.plot(curve.epochs, [100 * a for a in curve.accuracy], color=MUTED, **style | {"gid": None})
            epochs, values = zip(*curve.validation, strict=True)
            right.plot(epochs, [100 * v for v in values], color=ACCENT, **style)
        else:
            right.plot(curve.epochs, [100 * a for a in curve.accuracy], color=MUTED, **style)
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
