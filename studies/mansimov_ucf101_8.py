"""Mansimov et al. 2015, Tables 1 to 3, on 8 classes of UCF-101: every row, and several studies fused.

After these (each says in its file what it needs first):

    for study in ucf101_8 lstm flow_single flow_stack flow_slow; do
        timelift compare studies/mansimov_$study.toml
    done
    python studies/mansimov_ucf101_8.py

All studies judge the official test list 01 and hold back the same validation videos; run i is fused with run
i. Differences are paired by run, and for new videos: clips of one group are drawn together. Intervals are
95 % each; p is corrected over the claims of one table (Holm). Learning rates of the RGB networks are chosen
on validation videos, those of flow and LSTM are one each. A study that has not been run is left out; for the
fused rows alone mansimov_nwi.toml will do in place of all of Table 1.
"""

from pathlib import Path

import numpy as np

from timelift.comparison import compare_paired
from timelift.comparison.family import holm_adjusted
from timelift.comparison.fused_row import FusedRow
from timelift.comparison.paired import PairedDifference
from timelift.records import DataError, Predictions, Run
from timelift.runs.fused_rows import fused_seeds
from timelift.runs.study import finished

HERE = Path(__file__).parent
FLOWS = ("flow_single", "flow_stack", "flow_slow")
STUDIES = ("mansimov_ucf101_8", "mansimov_nwi", "mansimov_lstm", *(f"mansimov_{flow}" for flow in FLOWS))
RGB = ("negative", "composite LSTM")
FUSED = (
    FusedRow("NWI + composite LSTM", RGB),
    FusedRow("NWI + composite LSTM, by SVM", RGB, "svm"),
    FusedRow("NWI + flow, stack of 10", ("negative", "flow, stack of 10")),
    FusedRow("NWI + composite LSTM + flow, stack of 10", (*RGB, "flow, stack of 10")),
    FusedRow("NWI + composite LSTM + flow, slow fusion", (*RGB, "flow, slow fusion")),
    FusedRow("NWI + composite LSTM + flow, slow fusion, by SVM", (*RGB, "flow, slow fusion"), "svm"),
)
PUBLISHED = {  # percent, 101 classes
    "spatial": 71.8,
    "average": 72.0,
    "scale": 72.4,
    "zero": 73.3,
    "negative": 73.9,
    "LSTM from random weights": 71.1,  # LRCN
    "composite LSTM": 75.8,
    "flow, single": 72.2,
    "flow, stack of 10": 77.5,
    "flow, slow fusion": 79.3,
    "NWI + composite LSTM": 78.3,
    "NWI + composite LSTM + flow, stack of 10": 85.3,
    "NWI + composite LSTM + flow, slow fusion": 85.3,
}
CLAIMS = {  # table -> (what is said to be no better, what is said to be better or equal)
    "Table 1": (
        ("spatial", "average"),
        ("spatial", "scale"),
        ("average", "scale"),
        ("average", "zero"),
        ("spatial", "zero"),
        ("zero", "negative"),
        ("spatial", "negative"),
        ("zero", "zero, copy last"),
        ("negative", "negative, copy last"),
    ),
    "Table 2": (
        ("LSTM from random weights", "composite LSTM"),
        ("negative", "NWI + composite LSTM"),
        ("composite LSTM", "NWI + composite LSTM"),
    ),
    "Table 3 and section 4.3": (
        ("negative", "NWI + flow, stack of 10"),
        ("flow, single", "flow, stack of 10"),
        ("flow, stack of 10", "flow, slow fusion"),
        ("NWI + composite LSTM", "NWI + composite LSTM + flow, slow fusion"),
        ("NWI + composite LSTM + flow, stack of 10", "NWI + composite LSTM + flow, slow fusion"),
        ("NWI + composite LSTM", "NWI + composite LSTM, by SVM"),
        ("NWI + composite LSTM + flow, slow fusion", "NWI + composite LSTM + flow, slow fusion, by SVM"),
    ),
}

Answered = tuple[Run, Predictions]


def main() -> None:
    """Print the table of all rows, then what each claim came to, as Markdown."""
    rows = by_row()
    print("| row | published | ours, mean ± s.e. | runs |\n|---|---|---|---|")
    for name, of_seed in rows.items():
        accuracy = np.array([100 * answers.correct().mean() for answers in of_seed.values()])
        error = f" ± {accuracy.std(ddof=1) / np.sqrt(len(accuracy)):.1f}" if len(accuracy) > 1 else ""
        print(f"| {name} | {PUBLISHED.get(name, '')} | {accuracy.mean():.1f}{error} | {len(accuracy)} |")
    for table, claims in CLAIMS.items():
        found = [compared(one, other, rows) for one, other in claims if rows.keys() >= {one, other}]
        if found:
            adjusted = holm_adjusted(np.array([one.p_adjusted for one in found]))
            print(f"\n| {table}: claim | published, points | ours, points | 95 % interval | p, corrected |")
            print("|---|---|---|---|---|")
            print(*map(claim, found, adjusted), sep="\n")


def by_row() -> dict[str, dict[int, Predictions]]:
    """Row -> seed -> answers, fused rows last; of the studies that are there."""
    runs: dict[tuple[str, int], Answered] = {}
    folders: dict[tuple[str, int], Path] = {}
    for study in reversed(STUDIES):  # the first that has a row is taken
        try:
            (found,) = finished(HERE / study)
        except DataError:
            continue
        for run, answers, folder in zip(found.runs, found.predictions, found.folders, strict=True):
            runs[run.variant, run.seed] = run, answers
            folders[run.variant, run.seed] = folder
    there = {variant for variant, _ in runs}
    known = list(runs.values()), list(folders.values())
    fused = [one for row in FUSED if there >= set(row.of) for one in fused_seeds(row, *known)]
    rows: dict[str, dict[int, Predictions]] = {}
    for run, answers in (*runs.values(), *fused):
        rows.setdefault(run.variant, {})[run.seed] = answers
    return rows


def compared(one: str, other: str, rows: dict[str, dict[int, Predictions]]) -> PairedDifference:
    """How much better the other row is, over the seeds that both have."""
    seeds = sorted(rows[one].keys() & rows[other].keys())
    a, b = (np.stack([rows[name][seed].correct() for seed in seeds]) for name in (one, other))
    return compare_paired(a, b, rows[one][seeds[0]].groups, names=(one, other))


def claim(found: PairedDifference, p: float) -> str:
    """A line of Markdown."""
    one, other = found.baseline, found.variant
    low, high = found.interval
    told = (name in PUBLISHED for name in (one, other))
    published = f"{PUBLISHED[other] - PUBLISHED[one]:+.1f}" if all(told) else ""
    return (
        f"| {other} against {one} | {published} | {100 * found.mean:+.1f} "
        f"| {100 * low:+.1f} to {100 * high:+.1f} | {p:.3f} |"
    )


if __name__ == "__main__":
    main()
