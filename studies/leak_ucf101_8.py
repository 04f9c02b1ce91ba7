"""The false gain of a split by clip: the same test clips, with and without their siblings in train.

Make the manifests and the runs first (half an hour on two cores):

    timelift scan ../shared/data/ucf101-8 --output studies/leak_ucf101_8/scanned.csv
    timelift split studies/leak_ucf101_8/scanned.csv --by clip --shares 0.85,0,0.15 --allow-leaks \
        --output studies/leak_ucf101_8/by_clip.csv
    timelift split studies/leak_ucf101_8/by_clip.csv --by given --drop-leaks \
        --output studies/leak_ucf101_8/by_group.csv
    timelift compare studies/leak_ucf101_8_by_clip.toml
    timelift compare studies/leak_ucf101_8_by_group.toml
    python studies/leak_ucf101_8.py

Both studies judge the same test clips, so each clip is compared with itself. The gain's interval is for new
videos: over runs and test clips together, clips of one group drawn together. Runs of one seed drew their
training videos from different sets, so pairing by seed neither helps nor harms. Training takes 40 of the 108
videos a class of the split by clip, as no more are left without a group of the test: with all of them each
test clip would have more siblings, and the gain would be larger.
"""

from pathlib import Path

import numpy as np

from timelift.comparison import compare_paired
from timelift.records import Predictions, UsageError
from timelift.runs.study import finished

HERE = Path(__file__).parent
STUDIES = {"by group": "leak_ucf101_8_by_group", "by clip": "leak_ucf101_8_by_clip"}


def main() -> None:
    """Print the gain of every variant that both studies have."""
    answers = {split: by_variant(HERE / folder) for split, folder in STUDIES.items()}
    for variant in answers["by group"]:
        print(gain(variant, answers["by group"][variant], answers["by clip"][variant]))


def by_variant(folder: Path) -> dict[str, list[Predictions]]:
    """What the finished runs of a study answered, in the order of their seeds."""
    (found,) = finished(folder)
    rows: dict[str, dict[int, Predictions]] = {}
    for run, predictions in zip(found.runs, found.predictions, strict=True):
        rows.setdefault(run.variant, {})[run.seed] = predictions
    return {variant: [of[seed] for seed in sorted(of)] for variant, of in rows.items()}


def gain(variant: str, honest: list[Predictions], leaky: list[Predictions]) -> str:
    """One line: accuracy after both trainings, and the difference with its interval."""
    videos = {p.videos for p in (*honest, *leaky)}
    if len(videos) != 1:
        raise UsageError("the two studies judged other test clips: make both manifests again, in order")
    a, b = (np.stack([p.correct() for p in side]) for side in (honest, leaky))
    found = compare_paired(a, b, honest[0].groups, names=("split by group", "split by clip"))
    low, high = found.interval
    return (
        f"{variant}: {100 * a.mean():.1f} % by group, {100 * b.mean():.1f} % by clip: "
        f"a false gain of {100 * found.mean:.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f}; "
        f"{found.runs} runs, {found.videos} clips of {found.groups} groups)"
    )


if __name__ == "__main__":
    main()
