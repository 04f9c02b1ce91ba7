"""The dry run's arithmetic against a loop over every run, and what it must not do."""

import itertools
from pathlib import Path

import pytest
import torch

from timelift.comparison.axes import text_of
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study
from timelift.records import Manifest, Video
from timelift.runs.data import PreparedData
from timelift.runs.forecast import Forecast, expected_runs, forecast
from timelift.runs.kinds import kind_of
from timelift.runs.select_one import FIRST_SEED
from timelift.runs.timed import Timed
from videos_tiny import write_net, write_videos

STUDY = """
name = "s"
data = "d"
variants = ["lenet5_3d(channels={channels})", "lenet5_3dttn"]
videos_per_class = [1, 3]
seeds = 4
time_runs = 1
linear_probe = false
[axes]
"clip.frames" = [12, 14]
[grid]
runs = 2
"training.learning_rate" = [1e-3, 1e-2]
[grid."lenet5_3d(channels={channels})"]
channels = [[2, 3], [4, 5]]
[recipe.training]
epochs = 5
validate_every = 2
batch_size = 2
"""
COUNTS = {"train": 8, "val": 3, "test": 5}


def study_of(tmp_path: Path) -> Study:
    (tmp_path / "s.toml").write_text(STUDY)
    return parse_study(tmp_path / "s.toml")


def data_of() -> PreparedData:
    videos = tuple(
        Video(path=f"{label}-{split}-{i}", label=label, split=split)
        for label in ("a", "b")
        for split, count in COUNTS.items()
        for i in range(count)
    )
    return PreparedData(Manifest("", ("a", "b"), videos), "validation", ())


def timed_of(study: Study) -> dict[str, Timed]:
    """Another figure for every kind of run."""
    kinds = dict.fromkeys(
        str(kind_of(study, condition, variant, choice))
        for condition in study.conditions
        for variant in study.variants
        for choice in study.grid.choices(variant, condition)
    )
    return {kind: Timed(1.0 + i, 0.1 + i, 0.01 + i) for i, kind in enumerate(kinds)}


def by_hand(study: Study, timed: dict[str, Timed]) -> float:
    """Seconds of every run there is, one after the other."""
    total = 0.0
    for condition, variant in itertools.product(study.conditions, study.variants):
        choices = study.grid.choices(variant, condition)
        for choice in choices:
            cost = timed[str(kind_of(study, condition, variant, choice))]
            steps = 5 * {1: 1, 3: 3}[condition.videos_per_class]  # 2 or 6 videos, 2 a step
            common = cost.start + steps * cost.step + 3 * 6 * cost.video  # validated after 2, 4 and 5
            total += 2 * common
            total += (4 * (common + 10 * cost.video) + 30 * cost.video) / len(choices)
    return total


def test_all_runs_are_foreseen(tmp_path):
    study = study_of(tmp_path)
    timed = timed_of(study)
    found = Forecast(tuple(expected_runs(study, data_of(), timed, set())), workers=2, decoding=7.0, videos=1)
    assert found.runs == 2 * 2 * (4 * 2 + 2 * 2) + 2 * 2 * 2 * 4
    assert found.work == pytest.approx(by_hand(study, timed))
    assert found.seconds == pytest.approx(7 + found.work / 2)


def test_what_is_done_is_not_foreseen_again(tmp_path):
    study = study_of(tmp_path)
    condition, variant = study.conditions[0], study.variants[1]
    choice = text_of(study.grid.choices(variant, condition)[0])
    done = {(str(condition), variant, choice, FIRST_SEED), (str(condition), variant, "", 0)}
    every = expected_runs(study, data_of(), timed_of(study), set())
    left = expected_runs(study, data_of(), timed_of(study), done)
    fewer = [(b.condition, b.variant, b.tries, a.runs - b.runs) for a, b in zip(every, left, strict=True)]
    assert {one for one in fewer if one[3]} == {
        (str(condition), variant, 2, 1),
        (str(condition), variant, 0, 1),
    }


def test_kinds_are_timed_once(tmp_path):
    study = study_of(tmp_path)
    assert len(timed_of(study)) == 4 * (2 + 1)  # conditions x networks: rates cost no time


@pytest.mark.slow
def test_a_dry_run_leaves_no_study(tmp_path, monkeypatch):
    monkeypatch.setenv("TIMELIFT_CACHE", str(tmp_path / "cache"))
    write_videos(tmp_path / "v")
    net = write_net(tmp_path)
    (tmp_path / "s.toml").write_text(
        f'name = "s"\ndata = "v"\nvariants = ["{net}", "{net} Inflate(frames=3)"]\nseeds = 2\n'
        "linear_probe = false\n[recipe.clip]\nframes = 4\nsize = 16\nshort_side = 16\n"
    )
    folder = tmp_path / "out"
    found = forecast(parse_study(tmp_path / "s.toml"), folder, 2, torch.device("cpu"), lambda word: None)
    assert found.runs == 4
    assert found.seconds > 0
    assert [path.name for path in folder.iterdir()] == ["data.csv"]
