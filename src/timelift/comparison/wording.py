"""Verdicts in plain English: what is shown, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from timelift.comparison.paired import PairedDifference


def points(fraction: float) -> str:
    """0.031 -> "3.1": percentage points; small ones keep a second digit."""
    value = 100 * fraction + 0.0  # no "-0.0"
    digits = 1 if abs(value) >= 0.05 or value == 0 else 2
    return f"{value:.{digits}f}" if np.isfinite(value) else "unbounded"


def percent(level: float) -> str:
    """The confidence of an interval at `level`: 0.05 -> "95 %"."""
    return f"{100 * (1 - level):.4g} %"


def interval_text(interval: tuple[float, float]) -> str:
    """(0.004, 0.058) -> "0.4 to 5.8"."""
    if not np.isfinite(interval).any():
        return "unbounded"
    return f"{points(interval[0])} to {points(interval[1])}"


def amount(time: float) -> str:
    """1234.5 -> "1,234", 3.256 -> "3.26": steps or seconds."""
    return f"{time:,.0f}" if abs(time) >= 100 else f"{time:.3g}"


def plural(count: int, thing: str) -> str:
    """2, "video" -> "2 videos"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def basis(result: PairedDifference) -> str:
    """What a result rests on: "5 paired runs, 294 videos in 56 groups"."""
    runs = plural(result.runs, "paired run")
    if result.videos is None or result.groups is None:
        return f"{runs}, test videos unknown"
    if result.groups == result.videos:
        return f"{runs}, {plural(result.videos, 'video')}"
    return f"{runs}, {plural(result.videos, 'video')} in {plural(result.groups, 'group')}"


def p_text(p: float) -> str:
    """As in "p = 0.031"; never "p = 0"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _interval_clause(result: PairedDifference) -> str:
    return f"{percent(result.level)} interval {interval_text(result.interval)}; {basis(result)}"


def sentence_of(result: PairedDifference) -> str:
    """The verdict and its reach in one or a few sentences."""
    return {
        "better": _different,
        "worse": _different,
        "equivalent": _equivalent,
        "inconclusive": _inconclusive,
        "too few runs": _too_few,
    }[result.verdict](result)


def _different(result: PairedDifference) -> str:
    text = (
        f"{result.variant} is {result.verdict} than {result.baseline} by {points(abs(result.mean))} points "
        f"({_interval_clause(result)})."
    )
    if result.equivalent:
        text += f" The difference is real but within the margin of {points(result.margin)} points."
    return text + _reach(result)


def _equivalent(result: PairedDifference) -> str:
    return (
        f"{result.variant} and {result.baseline} are equivalent within {points(result.margin)} points: "
        f"{_apart(result)} ({_interval_clause(result)})." + _reach(result)
    )


def _inconclusive(result: PairedDifference) -> str:
    text = (
        f"{result.variant} cannot be told from {result.baseline}: "
        f"{_apart(result)} ({_interval_clause(result)}). "
        f"Neither a difference nor equivalence within {points(result.margin)} points is shown"
    )
    if np.isfinite(result.smallest_detectable) and result.smallest_detectable > 0:
        text += f"; a true difference under {points(result.smallest_detectable)} points would often go unseen"
    return text + "." + _only_these_videos(result) + _settling(result) + _reach(result)


def _too_few(result: PairedDifference) -> str:
    text = (
        f"Too few runs to compare {result.variant} with {result.baseline}: {plural(result.runs, 'pair')}, "
        f"at least 3 are needed; the mean difference so far is {points(result.mean)} points."
    )
    if result.p_mcnemar is not None:
        text += (
            f" These two trained networks on these videos: McNemar's {p_text(result.p_mcnemar)}, "
            "which says nothing about training again."
        )
    return text


def _apart(result: PairedDifference) -> str:
    return f"the mean difference is {points(result.mean)} points"


def _only_these_videos(result: PairedDifference) -> str:
    lower, upper = result.interval_seeds
    if result.videos is None or lower <= 0 <= upper:
        return ""
    word = "better" if lower > 0 else "worse"
    return (
        f" Trained again and tested on exactly these videos it would be {word} "
        f"({percent(result.level)} interval {interval_text(result.interval_seeds)}), "
        "but that does not carry over to new videos."
    )


def _settling(result: PairedDifference) -> str:
    if result.videos is None or result.groups == 1:
        return ""
    if result.runs_to_settle is None:
        return " More runs alone are unlikely to settle it: more test videos, of more groups, are needed."
    more = result.runs_to_settle - result.runs
    return f" About {more} more {'run' if more == 1 else 'runs'} of each might settle it, if the mean holds."


def _reach(result: PairedDifference) -> str:
    if result.videos is None:
        return (
            " This holds for exactly these test videos, trained again; nothing is known about other videos."
        )
    return ""


def duration(seconds: float) -> str:
    """4.2 -> "4.2 s", 42 -> "42 s", 95 -> "1 min 35 s", 7260 -> "2 h 1 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def notes_of(result: PairedDifference) -> tuple[str, ...]:
    """What a reader must know beside the sentence."""
    notes = []
    if result.videos is None:
        notes.append("Only accuracies were given: both intervals are over seeds, none over test videos.")
    elif result.groups == 1:
        notes.append("All test videos are of one group: nothing can be said about new videos.")
    elif result.groups == result.videos:
        notes.append("No groups of videos were given: the test videos count as independent.")
    elif result.groups is not None and result.groups < 10:
        notes.append(f"Only {result.groups} groups of test videos: the interval for new videos is rough.")
    if result.videos is not None and result.interval_seeds == (0.0, 0.0) != result.interval:
        notes.append(
            f"No test video was answered otherwise in any pair of runs: the interval is what "
            f"{plural(result.groups or 0, 'group')} of videos leave open."
        )
    elif result.interval_seeds[0] == result.interval_seeds[1]:
        notes.append(
            "All pairs of runs differ by the same: training again changes nothing, or the set is tiny."
        )
    if result.videos is None and result.runs >= 3 and result.interval_seeds[0] == float("-inf"):
        notes.append("All pairs of runs differ by the same: how much runs vary cannot be judged from this.")
    return tuple(notes)
