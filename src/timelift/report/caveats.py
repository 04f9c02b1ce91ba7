"""What a study cannot say, in plain words, read off how it was made."""

import math
from collections.abc import Sequence

from timelift.comparison.headline import stopped_note
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.comparison.table import StudyTable
from timelift.comparison.wording import duration
from timelift.records import Run
from timelift.report.words import listed, percent, plural


def caveats(table: StudyTable, study: Study, runs: Sequence[Run], leaks: str = "") -> list[str]:
    """One or two sentences each, the widest reaching first; only what holds for this study.

    leaks: the note that groups or copies stand on two sides of the split; empty if none do.
    """
    found = [
        f"{leaks[:1].upper()}{leaks[1:]}." if leaks else "",
        _unfinished(table),
        _videos(table, runs),
        _recipe(study),
        _not_equal(table),
        stopped_note(table),
        _small_differences(table),
        _starts(table),
        _selection(runs),
        _seconds(runs),
    ]
    return [text for text in found if text]


def _unfinished(table: StudyTable) -> str:
    if not table.open:
        return ""
    return (
        f"The study is not finished: {plural(table.open, 'run is', 'runs are')} still to come, "
        "and numbers may move until then."
    )


def _videos(table: StudyTable, runs: Sequence[Run]) -> str:
    classes = plural(len(runs[0].classes), "class", "classes")
    groups = "" if table.groups == table.videos else f" in {plural(table.groups, 'group')}"
    return (
        f"It speaks of videos like these {plural(table.videos, 'test video')}{groups}, of {classes}. "
        "Other classes, other cameras, longer actions: nothing is known about them from here."
    )


def _recipe(study: Study) -> str:
    clip, training = study.recipe.clip, study.recipe.training
    budget = plural(training.epochs, "epoch")
    if training.steps:
        budget = plural(training.steps, "optimiser step")
    if study.seconds is not None:
        budget = f"{study.seconds:g} seconds of training, as many steps as that was,"
    tuned = (
        "No variant was tuned by itself" if not _tuned(study) else "What the grid names was chosen for each"
    )
    return (
        f"It speaks of this recipe: {budget} of {training.optimizer} on clips of "
        f"{plural(clip.frames, 'frame')}, {clip.size} pixels wide. {tuned}, and "
        "a longer training or other clips may put them in another order."
    )


def _tuned(study: Study) -> bool:
    return any(len(study.grid.choices(v, c)) > 1 for v in study.variants for c in study.conditions)


def _not_equal(table: StudyTable) -> str:
    open_rows = [row for row in table.rows if row.verdict == "inconclusive" and not row.is_probe]
    if not open_rows:
        return ""
    return (
        "“Inconclusive” does not mean equal. Neither a difference nor equality within "
        f"{percent(table.margin)} points is shown for {plural(len(open_rows), 'variant')}."
    )


def _small_differences(table: StudyTable) -> str:
    sizes = [
        row.difference.smallest_detectable
        for row in table.rows
        if row.difference is not None
        and not row.is_probe
        and math.isfinite(row.difference.smallest_detectable)
    ]
    if not sizes or max(sizes) <= 0:
        return ""
    return (
        f"With {plural(table.seeds, 'run')} a variant and these test videos, a true difference below about "
        f"{percent(max(sizes))} points would often go unseen."
    )


def _starts(table: StudyTable) -> str:
    starts = dict.fromkeys(row.started_from for row in table.rows if row.runs and not row.is_probe)
    if len(starts) < 2:
        return ""
    return (
        f"The variants do not all start from the same weights ({listed(list(starts))}): "
        "what sets them apart may be the start as much as the network."
    )


def _selection(runs: Sequence[Run]) -> str:
    last = [run for run in runs if run.variant != LINEAR_PROBE and run.selection.startswith("last epoch")]
    if not last:
        return ""
    return (
        "No validation videos chose the epoch: the last one counts, for every variant, "
        "whether or not an earlier one was better."
    )


def _seconds(runs: Sequence[Run]) -> str:
    total = sum(run.seconds.get("train", 0.0) for run in runs)
    if total <= 0:
        return ""
    return (
        f"It does not compare speed. Training took {duration(total)} of work in all, "
        "but runs may have shared the machine with each other."
    )
