"""The table of a study: a row a variant, what each difference from the baseline shows, and the headline."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from timelift.comparison.family import compare_pairs
from timelift.comparison.headline import headline_of, table_notes
from timelift.comparison.looks import Look, plan_look
from timelift.comparison.paired import PairedDifference
from timelift.comparison.pairing import check_pairing
from timelift.comparison.store import Cell, Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.records.predictions import Predictions
from timelift.records.run import Run

Scores = dict[int, np.ndarray]  # seed -> (videos,) of 0 and 1


@dataclass(frozen=True)
class Row:
    """One variant, or the linear probe."""

    variant: str
    is_baseline: bool
    is_probe: bool
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]  # of the runs, in the order of `seeds`; fractions
    mean: float  # nan without runs
    standard_error: float  # of the mean over runs; nan under two runs
    parameters: int | None
    started_from: str
    difference: PairedDifference | None  # from the baseline; None for itself, or without a common seed
    verdict: str  # the difference's; "not finished" while runs are missing; "" for the baseline
    sentence: str

    @property
    def runs(self) -> int:
        """Finished runs."""
        return len(self.seeds)


@dataclass(frozen=True)
class StudyTable:
    """All that a reader needs of a study; numbers are fractions, texts speak of points and percent."""

    name: str
    metric: str
    headline: str
    rows: tuple[Row, ...]  # the baseline first, then the study's order; the linear probe last
    failed: tuple[Cell, ...]
    open: int  # cells neither done nor failed
    notes: tuple[str, ...]
    baseline: str
    seeds: int
    videos: int
    groups: int
    alpha: float  # of the whole study
    margin: float
    look: Look


def make_table(
    store: Store,
    study: Study,
    runs: Sequence[Run],
    predictions: Sequence[Predictions],
    failed: Sequence[Cell] = (),
    open: int = 0,
) -> StudyTable:
    """`study_table`, with this look at a finished study recorded in its store."""
    stated, max_seeds = store.state_seeds(study.seeds, study.max_seeds or study.seeds)
    looked = (study.seeds,) if open else store.record_look(study.seeds)
    look = plan_look(looked, stated, max_seeds, study.alpha, study.spending)
    return study_table(runs, predictions, study, failed=failed, open=open, look=look)


def study_table(
    runs: Sequence[Run],
    predictions: Sequence[Predictions],
    study: Study,
    *,
    failed: Sequence[Cell] = (),
    open: int = 0,
    look: Look | None = None,
) -> StudyTable:
    """The table of finished runs and their predictions (same order); `open` cells are still to come.

    While cells are open there are numbers but no verdicts: a verdict is drawn once, when the stated runs end.

    Raises:
        UsageError: if runs do not pair.
    """
    check_pairing(runs, predictions)
    look = look or plan_look([study.seeds], study.seeds, study.max_seeds or study.seeds, study.alpha)
    scores: dict[str, Scores] = {name: {} for name in study.cells}
    for run, answers in zip(runs, predictions, strict=True):
        scores.setdefault(run.variant, {})[run.seed] = answers.correct()
    groups = np.array(predictions[0].groups) if predictions else np.array([])
    differences = _differences(scores, study, groups, look)
    order = sorted(scores, key=lambda name: (name == LINEAR_PROBE, name != study.baseline))
    rows = tuple(_row(name, scores[name], runs, study, differences.get(name), open) for name in order)
    table = StudyTable(
        name=study.name,
        metric="top-1 accuracy, video level",
        headline="",
        rows=rows,
        failed=tuple(failed),
        open=open,
        notes=(),
        baseline=study.baseline or study.variants[0],
        seeds=study.seeds,
        videos=len(groups),
        groups=_count(groups),
        alpha=study.alpha,
        margin=study.margin,
        look=look,
    )
    return dataclasses.replace(table, headline=headline_of(table), notes=table_notes(table, runs))


def _count(groups: np.ndarray) -> int:
    """Groups of videos; a video without a group is its own."""
    return len(set(groups.tolist()) - {""}) + int((groups == "").sum())


def _differences(
    scores: Mapping[str, Scores], study: Study, groups: np.ndarray, look: Look
) -> dict[str, PairedDifference]:
    """Of the variants, judged as one family; and of the linear probe, judged by itself."""
    baseline = study.baseline or study.variants[0]
    others = [name for name in scores if name not in (baseline, LINEAR_PROBE)]
    found: dict[str, PairedDifference] = {}
    for family in (others, [LINEAR_PROBE] if LINEAR_PROBE in scores else []):
        pairs = {name: _pair(scores[baseline], scores[name], name) for name in family}
        pairs = {name: pair for name, pair in pairs.items() if len(pair[0])}
        results = compare_pairs(pairs, baseline, groups, alpha=look.nominal, margin=study.margin)
        found |= {result.variant: result for result in results}
    return found


def _pair(baseline: Scores, other: Scores, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(runs, videos) of both, over the seeds that both have; a probe that ran once is beside all."""
    if name == LINEAR_PROBE and len(other) == 1:
        other = dict.fromkeys(baseline, next(iter(other.values())))
    common = sorted(baseline.keys() & other.keys())
    return np.array([baseline[s] for s in common]), np.array([other[s] for s in common])


def _row(
    name: str,
    scores: Scores,
    runs: Sequence[Run],
    study: Study,
    difference: PairedDifference | None,
    open: int,
) -> Row:
    own = [run for run in runs if run.variant == name]
    seeds = tuple(sorted(scores))
    accuracies = tuple(float(scores[seed].mean()) for seed in seeds)
    spread = float(np.std(accuracies, ddof=1) / np.sqrt(len(seeds))) if len(seeds) > 1 else float("nan")
    return Row(
        variant=name,
        is_baseline=name == study.baseline,
        is_probe=name == LINEAR_PROBE,
        seeds=seeds,
        accuracies=accuracies,
        mean=float(np.mean(accuracies)) if accuracies else float("nan"),
        standard_error=spread,
        parameters=own[0].parameters if own else None,
        started_from="; ".join(dict.fromkeys(run.started_from for run in own)),
        difference=difference,
        verdict="" if difference is None else "not finished" if open else difference.verdict,
        sentence="" if difference is None or open else difference.sentence,
    )
