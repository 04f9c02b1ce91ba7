"""The second outcome of a study: steps and seconds until a run reaches a stated share of the best accuracy.

The target is that share of the best variant's mean validation accuracy at the end of training: one number for
all variants. It is about these validation videos and these training recipes, trained again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timelift.comparison.checks import Checks, read_checks
from timelift.comparison.sooner import TimeDifference, compare_times_family
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.comparison.timeto import Times, joined, median_time, target_accuracy, time_to
from timelift.records.run import Run

UNITS = ("steps", "seconds")
OfVariants = Mapping[str, Mapping[int, Checks]]  # variant -> seed -> its validations


@dataclass(frozen=True)
class Reaching:
    """How soon the runs of one variant reach the target, in one unit."""

    variant: str
    unit: str  # of UNITS
    runs: int  # that were judged on validation videos
    reached: int
    median: float  # of all runs, those that never got there included; inf where half did not
    difference: TimeDifference | None  # from the baseline; None for itself, or without a common seed
    verdict: str  # sooner, later, inconclusive, too few runs; "not finished"; "" for the baseline
    sentence: str


@dataclass(frozen=True)
class TimeOutcome:
    """Steps and seconds to the target, of every variant; or why a study has no such outcome."""

    share: float  # of the best final accuracy, stated by the study
    target: float = float("nan")  # validation accuracy
    best: str = ""  # the variant whose mean at the end the share is of
    check_steps: tuple[int, int] = (0, 0)  # fewest and most steps between two validations
    rows: tuple[Reaching, ...] = ()  # all in steps, then all in seconds; the baseline first
    missing: str = ""  # why there is none

    def of(self, unit: str) -> tuple[Reaching, ...]:
        """The rows in one unit."""
        return tuple(row for row in self.rows if row.unit == unit)


def study_times(
    runs: Sequence[Run], folders: Sequence[Path], study: Study, alpha: float, open: int = 0
) -> TimeOutcome:
    """Steps and seconds to the target in finished runs, whose log.csv lie in `folders` (same order).

    alpha: of each unit's family of comparisons with the baseline (Holm). While cells are `open` there are
    numbers and no verdicts.

    Raises:
        DataError: if a log is there and cannot be read.
    """
    found = _checks(runs, folders)
    baseline = study.baseline or study.variants[0]
    names = [baseline, *(name for name in study.variants if name != baseline and name in found)]
    if baseline not in found or len(names) < 2:
        return TimeOutcome(study.share, missing=_missing(found, baseline))
    finals = [np.array([checks.accuracy[-1] for checks in found[name].values()]) for name in names]
    target = target_accuracy(finals, study.share)
    rows = [row for unit in UNITS for row in _rows({n: found[n] for n in names}, unit, target, alpha, open)]
    return TimeOutcome(
        share=study.share,
        target=target,
        best=names[int(np.argmax([final.mean() for final in finals]))],
        check_steps=_gaps(found),
        rows=tuple(rows),
    )


def _checks(runs: Sequence[Run], folders: Sequence[Path]) -> OfVariants:
    """Of the runs that were judged on validation videos while they trained."""
    found: dict[str, dict[int, Checks]] = {}
    for run, folder in zip(runs, folders, strict=True):
        log = Path(folder) / "log.csv"
        checks = read_checks(log) if run.variant != LINEAR_PROBE and log.is_file() else None
        if checks is not None and len(checks.accuracy):
            found.setdefault(run.variant, {})[run.seed] = checks
    return found


def _missing(found: OfVariants, baseline: str) -> str:
    if not found:
        return "No run was judged on validation videos while it trained."
    if baseline not in found:
        return f"No run of the baseline {baseline} was judged on validation videos while it trained."
    return f"No run of another variant than {baseline} was judged on validation videos while it trained."


def _gaps(found: OfVariants) -> tuple[int, int]:
    every = [np.diff(c.steps, prepend=0) for checks in found.values() for c in checks.values()]
    return int(min(map(np.min, every))), int(max(map(np.max, every)))


def _rows(found: OfVariants, unit: str, target: float, alpha: float, open: int) -> list[Reaching]:
    """A row a variant, the first the baseline."""
    times = {
        name: {seed: time_to(c.accuracy[None], c.at(unit), target) for seed, c in checks.items()}
        for name, checks in found.items()
    }
    baseline, *others = times
    pairs = {name: _pair(times[baseline], times[name]) for name in others}
    results = compare_times_family(
        {name: pair for name, pair in pairs.items() if pair is not None}, baseline, alpha, unit=unit
    )
    differences = {one.variant: one for one in results}
    return [
        _row(name, unit, joined([*of.values()]), differences.get(name), open) for name, of in times.items()
    ]


def _pair(baseline: Mapping[int, Times], other: Mapping[int, Times]) -> tuple[Times, Times] | None:
    """Times of both over the seeds that both have; None without one."""
    common = sorted(baseline.keys() & other.keys())
    if not common:
        return None
    return joined([baseline[seed] for seed in common]), joined([other[seed] for seed in common])


def _row(name: str, unit: str, times: Times, difference: TimeDifference | None, open: int) -> Reaching:
    return Reaching(
        variant=name,
        unit=unit,
        runs=len(times.time),
        reached=int(times.reached.sum()),
        median=median_time(times),
        difference=difference,
        verdict="" if difference is None else "not finished" if open else difference.verdict,
        sentence="" if difference is None or open else difference.sentence,
    )
