"""What is chosen for a variant: by validation accuracy alone, from choices that never failed, once."""

import numpy as np
import pytest

from timelift.comparison.axes import text_of
from timelift.comparison.store import Store
from timelift.comparison.study_file import parse_study
from timelift.records import Recipe, Run, UsageError
from timelift.records.run import write_run
from timelift.runs.select_one import add_selection_runs, chosen
from timelift.runs.train_one import VALIDATION

STUDY = """
name = "s"
data = "d"
variants = ["lenet5_3d", "lenet5_3dttn"]
linear_probe = false
[grid]
runs = 2
"training.learning_rate" = [1e-3, 1e-2, 1e-1]
"""


def selected(tmp_path, accuracy, fails=lambda choice, seed: False):
    """The study, and its store with every selection run ended; accuracy: (choice, seed) -> validation."""
    (tmp_path / "s.toml").write_text(STUDY)
    study, store = parse_study(tmp_path / "s.toml"), Store(tmp_path / "out")
    add_selection_runs(study, store)
    while (cell := store.claim("w")) is not None:
        if fails(cell.choice, cell.seed):
            store.fail(cell, "Traceback\nTimeliftError: the loss is not finite")
            continue
        run = Run(
            variant=cell.variant,
            seed=cell.seed,
            recipe=Recipe(),
            classes=("a", "b"),
            data_digest="",
            train_digest="",
            started_from="",
            selection="",
            parameters=1,
            metrics={VALIDATION: accuracy(cell.choice, cell.seed)},
        )
        store.run_folder(cell).mkdir(parents=True, exist_ok=True)
        write_run(run, store.run_folder(cell))
        store.finish(cell)
    return study, store


def choices(study):
    return [text_of(choice) for choice in study.grid.choices("lenet5_3d", study.conditions[0])]


@pytest.mark.parametrize("draw", range(5))
def test_the_best_mean_wins(tmp_path, draw):
    table: dict = {}
    rng = np.random.default_rng(draw)

    def accuracy(choice, seed):
        return table.setdefault((choice, seed), rng.uniform())

    study, store = selected(tmp_path, accuracy)
    means: dict = {}
    for (choice, _), value in table.items():
        means.setdefault(choice, []).append(value)
    point, (note,) = chosen(study, store, study.conditions[0], "lenet5_3d")
    assert text_of(point) in note
    assert "3 choices x 2 run(s)" in note
    assert text_of(point) == max(choices(study), key=lambda choice: np.mean(means[choice]))


def test_a_choice_that_fails_once_is_out(tmp_path):
    best = "training.learning_rate=0.1"
    study, store = selected(
        tmp_path,
        lambda choice, seed: {"0.001": 0.2, "0.01": 0.6, "0.1": 0.9}[choice.partition("=")[2]],
        lambda choice, seed: choice == best and seed % 2 == 0,
    )
    point, (note,) = chosen(study, store, study.conditions[0], "lenet5_3d")
    assert text_of(point) == "training.learning_rate=0.01"
    assert "1 of which failed" in note


def test_where_all_fail_there_is_nothing_to_judge(tmp_path):
    study, store = selected(tmp_path, lambda choice, seed: 0.5, lambda choice, seed: seed % 2 == 0)
    with pytest.raises(UsageError, match="nothing to judge"):
        chosen(study, store, study.conditions[0], "lenet5_3d")


def test_what_was_chosen_first_stays_and_the_note_says_what_would_win_now(tmp_path):
    study, store = selected(tmp_path, lambda choice, seed: 0.5)
    first, _ = chosen(study, store, study.conditions[0], "lenet5_3d")
    assert text_of(first) == choices(study)[0]
    for cell in store.status():
        if cell.choice == choices(study)[2]:
            (store.run_folder(cell) / "run.json").write_text(
                (store.run_folder(cell) / "run.json").read_text().replace("0.5", "0.8")
            )
    again, (note,) = chosen(study, store, study.conditions[0], "lenet5_3d")
    assert again == first
    assert f"prefer {choices(study)[2]}" in note
