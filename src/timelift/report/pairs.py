"""Differences pair by pair: what each seed says, before anything is averaged."""

from timelift.comparison.table import Row, StudyTable

Pairs = tuple[tuple[int, float], ...]  # (seed, variant less baseline), in order of the seeds; fractions


def paired_differences(table: StudyTable) -> dict[str, Pairs]:
    """Variant -> its pairs; one without a seed that the baseline has too is missing.

    A linear probe that ran once stands beside every run of the baseline, as in the table.
    """
    baseline = next(row for row in table.rows if row.is_baseline)
    pairs = {row.variant: _pairs(baseline, row) for row in table.rows if not row.is_baseline}
    return {variant: found for variant, found in pairs.items() if found}


def _pairs(baseline: Row, row: Row) -> Pairs:
    base = dict(zip(baseline.seeds, baseline.accuracies, strict=True))
    own = dict(zip(row.seeds, row.accuracies, strict=True))
    if row.is_probe and row.runs == 1:
        own = dict.fromkeys(base, row.accuracies[0])
    return tuple((seed, own[seed] - base[seed]) for seed in sorted(base.keys() & own.keys()))
