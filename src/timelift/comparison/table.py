"""The table of a study: a row a variant, what each difference from the baseline shows, and the headline."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.comparison.family import compare_pairs
from timelift.comparison.headline import headline_of, table_notes
from timelift.comparison.looks import Look, plan_look
from timelift.comparison.paired import PairedDifference
from timelift.comparison.pairing import check_pairing, free_fields
from timelift.comparison.published import Figure
from timelift.comparison.reaching import TimeOutcome
from timelift.comparison.store import Cell, Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.comparison.wording import plural
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
    multiply_adds: int | None = None  # of one clip
    latencies: tuple[float, ...] = ()  # seconds for one clip, of the runs that were timed
    published: Figure | None = None  # what a paper says of it

    @property
    def runs(self) -> int:
        """Finished runs."""
        return len(self.seeds)

    @property
    def latency(self) -> tuple[float, float, float] | None:
        """Quartiles over the runs that were timed, the median in the middle, in seconds; None without any."""
        if not self.latencies:
            return None
        low, median, high = np.quantile(self.latencies, (0.25, 0.5, 0.75)).tolist()
        return low, median, high

    @property
    def is_as_published(self) -> bool | None:
        """Whether the published mean lies within `mean_interval`; None if unknown, as under two runs."""
        if self.published is None or self.runs < 2:
            return None
        low, high = self.mean_interval
        return low <= self.published.mean <= high

    @property
    def mean_interval(self) -> tuple[float, float]:
        """The 95 % t interval of the mean over runs, on these test videos; the mean twice under two runs."""
        if self.runs < 2:
            return self.mean, self.mean
        half = float(stats.t.ppf(0.975, self.runs - 1)) * self.standard_error
        return self.mean - half, self.mean + half


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
    times: TimeOutcome | None = None  # steps and seconds to the target; None: not asked for


def make_table(
    store: Store,
    study: Study,
    runs: Sequence[Run],
    predictions: Sequence[Predictions],
    failed: Sequence[Cell] = (),
    open: int = 0,
    stopped: Mapping[str, str] | None = None,
) -> StudyTable:
    """`study_table`, with this look at a finished study recorded in its store."""
    stated, max_seeds = store.state_seeds(study.seeds, study.max_seeds or study.seeds)
    looked = (study.seeds,) if open else store.record_look(study.seeds)
    look = plan_look(looked, stated, max_seeds, study.alpha, study.spending)
    return study_table(runs, predictions, study, failed=failed, open=open, look=look, stopped=stopped)


def study_table(
    runs: Sequence[Run],
    predictions: Sequence[Predictions],
    study: Study,
    *,
    failed: Sequence[Cell] = (),
    open: int = 0,
    look: Look | None = None,
    stopped: Mapping[str, str] | None = None,
) -> StudyTable:
    """The table of finished runs and their predictions (same order); `open` cells are still to come.

    While cells are open there are numbers but no verdicts: a verdict is drawn once, when the stated runs end.
    stopped: variants that early stop has stopped, and why; they have numbers and no verdict either.

    Raises:
        UsageError: if runs do not pair.
    """
    check_pairing(runs, predictions, free_fields(study))
    look = look or plan_look([study.seeds], study.seeds, study.max_seeds or study.seeds, study.alpha)
    scores: dict[str, Scores] = {name: {} for name in study.cells}
    for run, answers in zip(runs, predictions, strict=True):
        scores.setdefault(run.variant, {})[run.seed] = answers.correct()
    groups = np.array(predictions[0].groups) if predictions else np.array([])
    differences = _differences(scores, study, groups, look, stopped or {})
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
    scores: Mapping[str, Scores], study: Study, groups: np.ndarray, look: Look, stopped: Mapping[str, str]
) -> dict[str, PairedDifference]:
    """Of the variants, judged as one family; and of the linear probe, judged by itself."""
    baseline = study.baseline or study.variants[0]
    others = [name for name in scores if name not in (baseline, LINEAR_PROBE)]
    found: dict[str, PairedDifference] = {}
    for family in (others, [LINEAR_PROBE] if LINEAR_PROBE in scores else []):
        pairs = {name: _pair(scores[baseline], scores[name], name) for name in family}
        pairs = {name: pair for name, pair in pairs.items() if len(pair[0])}
        results = compare_pairs(
            pairs, baseline, groups, alpha=look.nominal, margin=study.margin, undecided=stopped
        )
        found |= {result.variant: result for result in results}
    return found | {name: _stopped(found[name], stopped[name]) for name in stopped if name in found}


def _stopped(result: PairedDifference, why: str) -> PairedDifference:
    """A difference without a verdict: its seeds were not all run because of how they did."""
    sentence = (
        f"{result.variant} was stopped early, {why}. No verdict is drawn on test videos: its "
        f"{plural(result.runs, 'paired run')} were not followed by others because of how they did."
    )
    return dataclasses.replace(
        result, verdict="stopped early", equivalent=False, runs_to_settle=None, sentence=sentence
    )


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
    waits = bool(open) and (difference is None or difference.verdict != "stopped early")
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
        verdict="" if difference is None else "not finished" if waits else difference.verdict,
        sentence="" if difference is None or waits else difference.sentence,
        multiply_adds=next((run.multiply_adds for run in own if run.multiply_adds is not None), None),
        latencies=tuple(run.latency for run in own if run.latency is not None),
        published=study.published.of(name) if study.published else None,
    )
