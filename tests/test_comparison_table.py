"""Pairing refused by name, and a study's table, headline, CSV and Markdown."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from timelift.comparison import compare_paired, make_table, study_table, to_csv, to_markdown
from timelift.comparison.axes import Grid
from timelift.comparison.pairing import check_pairing, free_fields
from timelift.comparison.store import Cell, Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.records.errors import UsageError
from timelift.records.predictions import Predictions
from timelift.records.recipe import Augmentation, ClipFormat, Optimisation, Recipe, Views
from timelift.records.run import Run

VIDEOS, GROUPS = 60, 20
STUDY = Study(name="three starts", data="/videos", variants=("frames", "inflated", "broken|start"))


def run_of(variant: str, seed: int, **changed) -> Run:
    values = {
        "variant": variant,
        "seed": seed,
        "recipe": Recipe(),
        "classes": ("a", "b"),
        "data_digest": "data",
        "train_digest": f"train {seed}",
        "started_from": "ImageNet",
        "selection": f"best validation epoch {seed} of 20",
        "parameters": 12345,
        "order_digest": f"order {seed}",
    }
    return Run(**{**values, **changed})


def predictions_of(accuracy: float, seed: int) -> Predictions:
    rng = np.random.default_rng([seed, round(1000 * accuracy)])
    labels = np.arange(VIDEOS) % 2
    hard = np.random.default_rng(0).random(VIDEOS)  # the same videos are hard for all
    right = hard + 0.1 * rng.standard_normal(VIDEOS) < accuracy
    logits = np.zeros((VIDEOS, 1, 2), np.float32)
    logits[np.arange(VIDEOS), 0, np.where(right, labels, 1 - labels)] = 1
    return Predictions(
        videos=tuple(f"{i}.avi" for i in range(VIDEOS)),
        groups=tuple(f"g{i % GROUPS}" for i in range(VIDEOS)),
        labels=labels,
        classes=("a", "b"),
        clip_logits=logits,
    )


def study_of(accuracies: dict[str, float], seeds: int = 5) -> tuple[list[Run], list[Predictions]]:
    cells = [(variant, seed) for seed in range(seeds) for variant in accuracies]
    return [run_of(*cell) for cell in cells], [predictions_of(accuracies[v], s) for v, s in cells]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"data_digest": "x"}, "data .* differ between frames, seed 0 .data. and inflated, seed 1 .x."),
        ({"train_digest": "x"}, "training videos differ .*train 1.* and inflated"),
        ({"recipe": Recipe(clip=ClipFormat(frames=3))}, r"recipe\.clip"),
        ({"recipe": Recipe(views=Views(clips=3))}, r"recipe\.views\.clips differ .*1.*3"),
        ({"recipe": Recipe(views=Views(fusion="sci"))}, r"recipe\.views\.fusion differ .*mean.*sci"),
        ({"recipe": Recipe(training=Optimisation(epochs=9))}, r"recipe\.training\.epochs differ .*8.*9"),
        ({"recipe": Recipe(training=Optimisation(steps=9))}, r"recipe\.training\.steps differ"),
        (
            {"recipe": Recipe(training=Optimisation(early_stopping_patience=2))},
            r"recipe\.training\.early_stopping_patience differ",
        ),
        ({"recipe": Recipe(augmentation=Augmentation(flip=0.0))}, r"recipe\.augmentation\.flip differ"),
        ({"order_digest": "x"}, "order of the training videos differ"),
        ({"selection": "last epoch: no validation"}, "selection rule"),
        ({"classes": ("b", "a")}, "classes"),
    ],
)
def test_runs_that_are_not_paired_are_refused_by_name(changed, words):
    runs = [run_of("frames", 0), run_of("inflated", 0), run_of("frames", 1), run_of("inflated", 1, **changed)]
    with pytest.raises(UsageError, match=words):
        check_pairing(runs)


@pytest.mark.parametrize(
    "changed", [{"data_digest": "x"}, {"recipe": Recipe(training=Optimisation(ema=0.9))}]
)
def test_a_seed_whose_runs_all_differ_from_the_other_seeds_is_refused(changed):
    runs = [run_of(name, seed, **(changed if seed else {})) for seed in (0, 1) for name in ("a", "b")]
    with pytest.raises(UsageError, match="differ between a, seed 0"):
        check_pairing(runs)


def test_what_the_grid_chooses_may_differ_and_nothing_else():
    study = Study("s", "d", ("a", "b"), grid=Grid(axes=(("training.learning_rate", (0.1, 0.2)),)))
    runs = [run_of("a", 0), run_of("b", 0, recipe=Recipe(training=Optimisation(learning_rate=0.1)))]
    check_pairing(runs, free=free_fields(study))
    with pytest.raises(UsageError, match=r"recipe\.training\.learning_rate"):
        check_pairing(runs)


def test_what_may_differ_is_not_refused():
    pixels = Recipe(clip=ClipFormat(mean=(0.4, 0.4, 0.4)))  # every image network has its own
    check_pairing(
        [
            run_of("frames", 0),
            run_of("inflated", 0, recipe=pixels, started_from="random", parameters=1),
            run_of("frames", 1),
            run_of("inflated", 1, selection="best validation epoch 20 of 20"),
            run_of(LINEAR_PROBE, 0, train_digest="all", selection="strength by cross-validation"),
        ]
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"videos": tuple(f"{VIDEOS - i}.avi" for i in range(VIDEOS))},
            r"test video 1 differ .*0\.avi.*60\.avi",
        ),
        ({"videos": ("0.avi",)}, "number of test videos differ .*60.*1"),
        ({"labels": 1 - np.arange(VIDEOS) % 2}, r"label of 0\.avi"),
        ({"groups": ("g",) * VIDEOS}, "groups"),
    ],
)
def test_predictions_of_other_videos_are_refused(changed, words):
    runs, predictions = study_of({"frames": 0.5, "inflated": 0.6}, seeds=2)
    predictions[3] = dataclasses.replace(predictions[3], **changed)
    with pytest.raises(UsageError, match=words):
        check_pairing(runs, predictions)
    with pytest.raises(UsageError, match="give one for each run"):
        check_pairing(runs, predictions[:3])


def full_table(**more):
    runs, predictions = study_of({"frames": 0.5, "inflated": 0.75, "broken|start": 0.5, LINEAR_PROBE: 0.6})
    return study_table(runs, predictions, STUDY, **more)


def test_rows_hold_mean_error_and_both_intervals_of_every_variant():
    table = full_table()
    assert [row.variant for row in table.rows] == ["frames", "inflated", "broken|start", LINEAR_PROBE]
    first, best = table.rows[:2]
    assert (first.is_baseline, first.difference, first.verdict) == (True, None, "")
    correct = [np.stack([predictions_of(x, s).correct() for s in range(5)]) for x in (0.5, 0.75)]
    assert best.mean == pytest.approx(correct[1].mean())
    assert best.standard_error == pytest.approx(np.std(correct[1].mean(axis=1), ddof=1) / np.sqrt(5))
    groups = predictions_of(0.5, 0).groups
    assert best.difference == compare_paired(
        correct[0], correct[1], groups, level=0.025, names=("frames", "inflated")
    ) or (best.difference.p_adjusted == pytest.approx(2 * best.difference.p))
    assert (best.verdict, best.runs, best.parameters) == ("better", 5, 12345)
    assert (table.videos, table.groups) == (VIDEOS, GROUPS)


def test_the_headline_says_what_is_shown_and_the_probe_to_beat():
    headline = full_table().headline
    assert headline.startswith("inflated is better than frames by ")
    assert "60 videos in 20 groups" in headline
    assert "broken|start" in headline
    assert "linear probe on frozen image features reaches" in headline


def test_the_headline_quotes_the_best_of_the_better():
    runs, predictions = study_of({"frames": 0.3, "inflated": 0.6, "broken|start": 0.95})
    headline = study_table(runs, predictions, STUDY).headline
    assert headline.startswith("broken|start is better than frames")
    assert headline.endswith("Also better: inflated.")


def test_without_a_better_variant_the_headline_says_so():
    runs, predictions = study_of({"frames": 0.6, "inflated": 0.6, LINEAR_PROBE: 0.9})
    table = study_table(runs, predictions, dataclasses.replace(STUDY, variants=("frames", "inflated")))
    assert table.headline.startswith("No variant is shown to be better than frames.")
    assert "no variant does better on average" in table.headline


def test_the_probe_stands_outside_the_family():
    probe = full_table().rows[-1]
    alone = [row for row in full_table().rows if row.is_probe]
    assert alone == [probe]
    assert probe.difference.level == 0.05
    assert full_table().rows[1].difference.level == 0.025


def test_a_probe_that_ran_once_stands_beside_every_seed():
    runs, predictions = study_of({"frames": 0.5, "inflated": 0.75})
    runs.append(run_of(LINEAR_PROBE, 0, train_digest="all"))
    predictions.append(predictions_of(0.6, 0))
    probe = study_table(runs, predictions, STUDY).rows[-1]
    assert (probe.runs, probe.difference.runs) == (1, 5)


def test_a_failed_cell_costs_its_pair_only_and_is_listed():
    runs, predictions = study_of({"frames": 0.5, "inflated": 0.75, "broken|start": 0.5})
    gone = next(i for i, run in enumerate(runs) if (run.variant, run.seed) == ("inflated", 3))
    del runs[gone], predictions[gone]
    failed = (Cell(1, "", "inflated", "", 3, "failed", error="Traceback\nMemoryError: too large"),)
    table = study_table(runs, predictions, STUDY, failed=failed)
    assert [row.difference.runs for row in table.rows[1:3]] == [4, 5]
    assert "- inflated, seed 3: MemoryError: too large" in to_markdown(table)
    assert any("1 run failed" in note for note in table.notes)


def test_a_study_on_its_way_shows_numbers_and_draws_no_verdict():
    runs, predictions = study_of({"frames": 0.5, "inflated": 0.75}, seeds=4)
    table = study_table(runs, predictions, STUDY, open=12)
    assert table.headline.startswith("Not finished: 8 of 20 runs")
    assert {row.verdict for row in table.rows} == {"", "not finished"}
    assert not any(row.sentence for row in table.rows)


def test_a_study_without_runs_or_without_pairs_is_said_to_be_so():
    assert study_table([], [], STUDY).headline.startswith("Nothing can be compared")
    runs, predictions = study_of({"frames": 0.5})
    assert study_table(runs, predictions, STUDY).headline.startswith("Nothing can be compared")


def test_whether_training_videos_varied_is_said():
    assert any("varied between runs" in note for note in full_table().notes)
    runs, predictions = study_of({"frames": 0.5, "inflated": 0.75})
    runs = [dataclasses.replace(run, train_digest="same") for run in runs]
    assert any("trained on the same videos" in note for note in study_table(runs, predictions, STUDY).notes)


def test_later_looks_are_recorded_and_shown(tmp_path):
    store = Store(tmp_path)
    first = make_table(store, STUDY, *study_of({"frames": 0.5, "inflated": 0.75}))
    again = make_table(store, STUDY, *study_of({"frames": 0.5, "inflated": 0.75}))
    assert to_markdown(first) == to_markdown(again)
    assert not any("Look" in note for note in first.notes)
    more = dataclasses.replace(STUDY, seeds=10, max_seeds=10)
    interim = make_table(store, more, *study_of({"frames": 0.5, "inflated": 0.75}, seeds=7), open=6)
    assert interim.look.number == 1  # no verdict, no look
    late = make_table(store, more, *study_of({"frames": 0.5, "inflated": 0.75}, seeds=10))
    assert (late.look.number, late.look.planned, late.look.stated) == (2, False, 5)
    assert any("8.3 % of such studies" in note for note in late.notes)


def test_planned_later_looks_use_a_smaller_level(tmp_path):
    planned = dataclasses.replace(STUDY, max_seeds=30, variants=("frames", "inflated"), linear_probe=False)
    table = make_table(Store(tmp_path), planned, *study_of({"frames": 0.5, "inflated": 0.75}))
    assert table.rows[1].difference.level == table.look.nominal == pytest.approx(0.0126, abs=1e-4)


def test_files_hold_fractions_and_tables_percent():
    table = full_table()
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["role"] for row in rows] == ["baseline", "variant", "variant", "linear probe"]
    best = table.rows[1]
    assert float(rows[1]["mean"]) == best.mean
    assert (float(rows[1]["lower"]), float(rows[1]["upper"])) == best.difference.interval
    assert (float(rows[1]["seeds_lower"]), rows[0]["lower"]) == (best.difference.interval_seeds[0], "")
    text = to_markdown(table)
    assert f"{100 * best.mean:.1f} ± {100 * best.standard_error:.1f}" in text
    assert "broken\\|start" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "nan" not in text + to_csv(table)
