"""The same variants on several data sets: one figure a variant, and ranks.

Conditions of one study, as more or fewer training videos, are not data sets: their test videos are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from timelift.comparison.aggregate import (
    interquartile_mean,
    interquartile_mean_interval,
    probability_of_improvement,
    probability_of_improvement_interval,
)
from timelift.comparison.ranks import Ranking, rank_variants
from timelift.comparison.table import Row, StudyTable
from timelift.comparison.twoway import Interval
from timelift.comparison.wording import plural
from timelift.records.errors import UsageError

SEED = 0  # of the resamples: a page made again shows the same


@dataclass(frozen=True)
class Improvement:
    """Whether a run of the variant beats a run of the baseline, over the seeds that both have."""

    probability: float  # ties half, averaged over data sets
    interval: Interval  # nan under 5 runs of any data set, and where every run of one beats all of the other


@dataclass(frozen=True)
class Across:
    """One variant over all data sets."""

    variant: str
    is_baseline: bool
    means: tuple[float, ...]  # accuracy on each data set, over runs
    runs: tuple[int, ...]
    iqm: float  # interquartile mean of accuracy
    interval: Interval  # of it; nan under 5 runs of any data set
    improvement: Improvement | None  # None for the baseline
    rank: float  # average over data sets, 1 is best


@dataclass(frozen=True)
class OverDataSets:
    """What studies of the same variants show together; no verdict is drawn from it."""

    names: tuple[str, ...]  # of the data sets
    baseline: str
    rows: tuple[Across, ...]  # the baseline first
    level: float  # of every interval, not corrected for several
    ranking: Ranking | None  # over data sets; None for fewer than 3 variants
    open: int  # runs still to come


def over_data_sets(tables: Sequence[tuple[str, StudyTable]]) -> OverDataSets:
    """The studies' tables, each with the name of its data set, put together; the linear probe is left out.

    Raises:
        UsageError: for fewer than 2 studies, names that are the same, other variants, another baseline or
            level, a variant without a run, or without a seed that the baseline has.
    """
    _check(tables)
    names, first = tuple(name for name, _ in tables), tables[0][1]
    order = [row.variant for row in first.rows if not row.is_probe]
    found = {variant: [_row(table, variant) for _, table in tables] for variant in order}
    means = np.array([[row.mean for row in found[variant]] for variant in order]).T
    ranking = rank_variants(means, first.alpha) if len(order) > 2 else None
    ranks = stats.rankdata(-means, axis=1).mean(axis=0).tolist()
    return OverDataSets(
        names=names,
        baseline=first.baseline,
        rows=tuple(
            _across(found[first.baseline], found[variant], first.alpha, rank)
            for variant, rank in zip(order, ranks, strict=True)
        ),
        level=first.alpha,
        ranking=ranking,
        open=sum(table.open for _, table in tables),
    )


def _check(tables: Sequence[tuple[str, StudyTable]]) -> None:
    if len(tables) < 2:
        raise UsageError(f"{plural(len(tables), 'data set')} came; two or more are wanted")
    names = [name for name, _ in tables]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UsageError(f"two data sets are called {twice[0]}; each needs a name of its own")
    (name, first), *others = tables
    wanted = _variants(first)
    for other, table in others:
        if missing := [variant for variant in wanted if variant not in _variants(table)]:
            raise UsageError(
                f"{other} has no variant {missing[0]}, as {name} has: the same in all are wanted"
            )
        if more := [variant for variant in _variants(table) if variant not in wanted]:
            raise UsageError(f"{name} has no variant {more[0]}, as {other} has: the same in all are wanted")
        if table.baseline != first.baseline:
            raise UsageError(
                f"the baseline is {first.baseline} in {name} and {table.baseline} in {other}; "
                "the same in all is wanted"
            )
        if table.alpha != first.alpha:
            raise UsageError(
                f"alpha is {first.alpha} in {name} and {table.alpha} in {other}; the same in all is wanted"
            )
    for name, table in tables:
        if empty := [row.variant for row in table.rows if not row.is_probe and not row.runs]:
            raise UsageError(f"{name} has no finished run of {empty[0]}: let `timelift compare` finish it")


def _variants(table: StudyTable) -> list[str]:
    return [row.variant for row in table.rows if not row.is_probe]


def _row(table: StudyTable, variant: str) -> Row:
    return next(row for row in table.rows if row.variant == variant)


def _across(baseline: Sequence[Row], rows: Sequence[Row], level: float, rank: float) -> Across:
    scores = [np.array(row.accuracies) for row in rows]
    is_baseline = rows[0].is_baseline
    return Across(
        variant=rows[0].variant,
        is_baseline=is_baseline,
        means=tuple(row.mean for row in rows),
        runs=tuple(row.runs for row in rows),
        iqm=interquartile_mean(scores),
        interval=interquartile_mean_interval(scores, level, np.random.default_rng(SEED)),
        improvement=None if is_baseline else _improvement(baseline, rows, level),
        rank=rank,
    )


def _improvement(baseline: Sequence[Row], rows: Sequence[Row], level: float) -> Improvement:
    pairs = [_common(a, b) for a, b in zip(baseline, rows, strict=True)]
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Improvement(
        probability=probability_of_improvement(a, b),
        interval=probability_of_improvement_interval(a, b, level, np.random.default_rng(SEED)),
    )


def _common(baseline: Row, other: Row) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies of both, (runs,), over the seeds that both have."""
    a, b = (dict(zip(row.seeds, row.accuracies, strict=True)) for row in (baseline, other))
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        raise UsageError(f"{other.variant} and {baseline.variant} have no seed in common on a data set")
    return np.array([a[seed] for seed in seeds]), np.array([b[seed] for seed in seeds])
