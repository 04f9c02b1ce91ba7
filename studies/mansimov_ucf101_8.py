"""Mansimov et al. 2015, Tables 1 to 3, on 8 classes of UCF-101: every row, and several studies fused.

After these (each says in its file what it needs first):

    for study in ucf101_8 lstm flow_single flow_stack flow_slow; do
        timelift compare studies/mansimov_$study.toml
    done
    python studies/mansimov_ucf101_8.py

All studies judge the official test list 01 and hold back the same validation videos; run i is fused with run
i. Differences are paired by run; their intervals are for new videos, clips of one group drawn together, each
at 95 % by itself: of 15 claims about one is expected outside by chance.
"""

from pathlib import Path

import numpy as np

from timelift.comparison import compare_paired
from timelift.comparison.fused_row import FusedRow
from timelift.records import Predictions, Run
from timelift.runs.fused_rows import fused_seeds
from timelift.runs.study import finished

HERE = Path(__file__).parent
FLOWS = ("flow_single", "flow_stack", "flow_slow")
STUDIES = ("mansimov_ucf101_8", "mansimov_lstm", *(f"mansimov_{flow}" for flow in FLOWS))
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
    "composite LSTM": 75.8,
    "flow, single": 72.2,
    "flow, stack of 10": 77.5,
    "flow, slow fusion": 79.3,
    "NWI + composite LSTM": 78.3,
    "NWI + composite LSTM + flow, stack of 10": 85.3,
    "NWI + composite LSTM + flow, slow fusion": 85.3,
}
CLAIMS = (  # (what is said to be no better, what is said to be better or equal)
    ("spatial", "average"),
    ("spatial", "scale"),
    ("average", "zero"),
    ("zero", "negative"),
    ("spatial", "negative"),
    ("zero", "zero, copy last"),
    ("negative", "negative, copy last"),
    ("negative", "NWI + composite LSTM"),
    ("composite LSTM", "NWI + composite LSTM"),
    ("flow, single", "flow, stack of 10"),
    ("flow, stack of 10", "flow, slow fusion"),
    ("NWI + composite LSTM", "NWI + composite LSTM + flow, slow fusion"),
    ("NWI + composite LSTM + flow, stack of 10", "NWI + composite LSTM + flow, slow fusion"),
    ("NWI + composite LSTM", "NWI + composite LSTM, by SVM"),
    ("NWI + composite LSTM + flow, slow fusion", "NWI + composite LSTM + flow, slow fusion, by SVM"),
)

Answered = tuple[Run, Predictions]


def main() -> None:
    """Print the table of all rows, then what each claim came to, as Markdown."""
    rows = by_row()
    print("| row | published | ours, mean ± s.e. | runs |\n|---|---|---|---|")
    for name, of_seed in rows.items():
        accuracy = np.array([100 * answers.correct().mean() for answers in of_seed.values()])
        error = f" ± {accuracy.std(ddof=1) / np.sqrt(len(accuracy)):.1f}" if len(accuracy) > 1 else ""
        print(f"| {name} | {PUBLISHED.get(name, '')} | {accuracy.mean():.1f}{error} | {len(accuracy)} |")
    print("\n| claim | published, points | ours, points | 95 % interval | verdict |\n|---|---|---|---|---|")
    for one, other in CLAIMS:
        if one in rows and other in rows:
            print(claim(one, other, rows))


def by_row() -> dict[str, dict[int, Predictions]]:
    """Row -> seed -> answers, fused rows last; of the studies that are there."""
    runs: list[Answered] = []
    folders: list[Path] = []
    for study in STUDIES:
        if (HERE / study / "study.toml").is_file():
            (found,) = finished(HERE / study)
            runs += zip(found.runs, found.predictions, strict=True)
            folders += found.folders
    there = {run.variant for run, _ in runs}
    fused = [one for row in FUSED if there >= set(row.of) for one in fused_seeds(row, runs, folders)]
    rows: dict[str, dict[int, Predictions]] = {}
    for run, answers in (*runs, *fused):
        rows.setdefault(run.variant, {})[run.seed] = answers
    return rows


def claim(one: str, other: str, rows: dict[str, dict[int, Predictions]]) -> str:
    """A line of Markdown: how much better the other is."""
    seeds = sorted(rows[one].keys() & rows[other].keys())
    a, b = (np.stack([rows[name][seed].correct() for seed in seeds]) for name in (one, other))
    found = compare_paired(a, b, rows[one][seeds[0]].groups, names=(one, other))
    low, high = found.interval
    told = (name in PUBLISHED for name in (one, other))
    published = f"{PUBLISHED[other] - PUBLISHED[one]:+.1f}" if all(told) else ""
    return (
        f"| {other} against {one} | {published} | {100 * found.mean:+.1f} "
        f"| {100 * low:+.1f} to {100 * high:+.1f} | {found.verdict} |"
    )


if __name__ == "__main__":
    main()
