"""Conditions and choices: what a study file says, what is run, and what is shown of it."""

import csv
import dataclasses
import io
import itertools

import pytest

from test_comparison_table import STUDY, study_of
from timelift.comparison import study_table
from timelift.comparison.axes import Condition, Grid, filled, points, text_of, with_fields
from timelift.comparison.continuing import continue_study
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study, study_to_toml
from timelift.comparison.summary import AtCondition, summary_csv, summary_latex, summary_markdown
from timelift.records.errors import UsageError
from timelift.records.recipe import Recipe
from timelift.report.overview import write_overview
from timelift.runs.select_one import FIRST_SEED, add_selection_runs

STARTS = """
data = "videos"
variants = ["timm:r Inflate(start='{start}') @ {where}", "timm:r Framewise()"]
videos_per_class = [1, 2, 5]
selection = "last"
[axes]
start = ["zero", "average"]
where = ["first(2)", "top(0.1)"]
"clip.frames" = [8, 16]
"""
TUNED = """
data = "videos"
variants = ["lenet5_3d(channels={channels})", "lenet5_3dttn(channels={channels})", "plain"]
videos_per_class = [1, 2]
linear_probe = false
[grid]
runs = 2
"training.learning_rate" = [1e-3, 1e-2]
channels = [[4, 6], [6, 8]]
[grid."lenet5_3dttn(channels={channels})"]
channels = [[9, 9]]
[grid."lenet5_3dttn(channels={channels})"."videos_per_class=2"]
"training.learning_rate" = [3.0]
[grid.plain]
"training.learning_rate" = [0.5]
"""


def read(tmp_path, text):
    (tmp_path / "study.toml").write_text(text)
    return parse_study(tmp_path / "study.toml")


def test_axes_of_variants_make_variants_and_those_of_the_recipe_conditions(tmp_path):
    study = read(tmp_path, STARTS)
    spread = [
        f"timm:r Inflate(start='{start}') @ {where}"
        for start, where in itertools.product(("zero", "average"), ("first(2)", "top(0.1)"))
    ]
    assert study.variants == (*spread, "timm:r Framewise()")
    assert study.baseline == spread[0]
    assert [str(condition) for condition in study.conditions] == [
        f"videos_per_class={videos}, clip.frames={frames}" for videos in (1, 2, 5) for frames in (8, 16)
    ]
    one = study.at(study.conditions[3])
    assert (one.videos_per_class, one.recipe.clip.frames, one.conditions) == (2, 16, (Condition(2),))


@pytest.mark.parametrize("text", [STARTS, TUNED])
def test_a_study_with_axes_comes_back_from_its_file(text, tmp_path):
    study = read(tmp_path, text)
    again = read(tmp_path, study_to_toml(study))
    assert again == study


def test_the_more_special_choice_wins(tmp_path):
    study = read(tmp_path, TUNED)
    lenet, ttn, plain = study.variants
    one, two = study.conditions
    assert [text_of(choice) for choice in study.grid.choices(lenet, one)] == [
        f"training.learning_rate={rate}, channels={channels}"
        for rate in (0.001, 0.01)
        for channels in ((4, 6), (6, 8))
    ]
    assert len(study.grid.choices(ttn, one)) == 2
    assert study.grid.choices(ttn, two) == ((("training.learning_rate", 3.0), ("channels", (9, 9))),)
    assert study.grid.choices(plain, one) == ((("training.learning_rate", 0.5),),)
    assert Grid().choices("anything", one) == ((),)


def test_only_what_is_to_choose_is_tried_and_on_seeds_of_its_own(tmp_path):
    study, store = read(tmp_path, TUNED), Store(tmp_path)
    add_selection_runs(study, store)
    cells = store.status()
    counts = {
        (cell.variant, cell.condition): sum(
            other.variant == cell.variant and other.condition == cell.condition for other in cells
        )
        for cell in cells
    }
    lenet, ttn, _ = study.variants
    assert counts == {
        (lenet, "videos_per_class=1"): 8,
        (lenet, "videos_per_class=2"): 8,
        (ttn, "videos_per_class=1"): 4,
    }
    assert {cell.seed for cell in cells} == {FIRST_SEED, FIRST_SEED + 1}


def test_points_are_all_combinations():
    axes = (("a", (1, 2)), ("b.c", ("x",)), ("d", (True, False)))
    assert [dict(point) for point in points(axes)] == [
        {"a": a, "b.c": "x", "d": d} for a in (1, 2) for d in (True, False)
    ]
    assert list(points(())) == [()]


def test_a_point_fills_the_variant_and_the_recipe():
    point = (("clip.mean", (0.5,)), ("training.epochs", 3), ("n", (4, 6)))
    assert filled("net(channels={n}) {m}", point) == "net(channels=(4, 6)) {m}"
    recipe = with_fields(Recipe(), point)
    assert (recipe.clip.mean, recipe.training.epochs) == ((0.5,), 3)
    assert with_fields(Recipe(), ()) == Recipe()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[axes]\nstart = "zero"', "axes.start: 'zero' came; a list"),
        ("[axes]\nstart = []", "axes.start"),
        ('[axes]\nnowhere = ["a"]', "axes.nowhere: no variant has {nowhere}"),
        ('[axes]\n"clip.colour" = [1]', "clip.colour"),
        ('[axes]\n"nothing.at" = [1]', "nothing.at: a recipe has"),
        ("axes = 3", "axes: 3 came"),
        ("grid = 3", "grid: 3 came"),
        ("[grid]\nruns = 0", "grid.runs: 0 came"),
        ("[grid]\nruns = 1.5", "grid.runs: 1.5 came"),
        ('[grid."other"]\n"training.epochs" = [1]', "'other' is not one of the variants"),
        ('[grid."a"."videos_per_class=7"]\n"training.epochs" = [1]', "is no condition"),
        ('[grid]\n"training.epochs" = ["many"]', "training.epochs"),
        ("videos_per_class = [1, 1]", "each number once"),
        ("videos_per_class = [1, 0]", "at least 1"),
        ("videos_per_class = []", "at least one"),
        ("test_videos = 0", "test_videos"),
    ],
)
def test_axes_that_cannot_be_are_one_line(text, words, tmp_path):
    with pytest.raises(UsageError) as error:
        read(tmp_path, f'data = "v"\nvariants = ["a", "b"]\n{text}\n')
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_placeholder_without_values_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"variants: 'a \{x\}' has \{x\}, of which"):
        read(tmp_path, 'data = "v"\nvariants = ["a {x}", "b"]\n')


def test_conditions_can_be_added_and_nothing_goes():
    old = Study(
        name="s", data="/d", variants=("a", "b"), videos_per_class=(1, 2), axes=(("clip.frames", (8,)),)
    )
    new = dataclasses.replace(old, videos_per_class=(2, 5), axes=(("clip.frames", (16,)),))
    grown = continue_study(old, new)
    assert (grown.videos_per_class, grown.axes) == ((1, 2, 5), (("clip.frames", (8, 16)),))
    whole = Study(name="s", data="/d", variants=("a", "b"))
    part = dataclasses.replace(whole, videos_per_class=1, vary_training_videos=None)
    with pytest.raises(UsageError, match="videos_per_class = None, not 1"):
        continue_study(whole, part)
    with pytest.raises(UsageError, match="axes of"):
        continue_study(old, dataclasses.replace(new, axes=()))
    with pytest.raises(UsageError, match="another grid"):
        continue_study(old, dataclasses.replace(new, grid=Grid(runs=9)))


@pytest.fixture
def tables():
    found = []
    for videos, accuracies in ((1, {"frames": 0.3, "inflated": 0.8}), (10, {"frames": 0.9})):
        study = dataclasses.replace(STUDY, videos_per_class=videos)
        found.append(AtCondition(Condition(videos), study_table(*study_of(accuracies), study)))
    return tuple(found)


def test_the_summary_has_a_row_a_variant_and_a_column_a_condition(tables):
    rows = list(csv.DictReader(io.StringIO(summary_csv(tables))))
    means = {(row["condition"], row["variant"]): row["mean"] for row in rows}
    assert float(means["videos_per_class=1", "inflated"]) == tables[0].table.rows[1].mean
    assert means["videos_per_class=10", "inflated"] == ""
    text = summary_markdown("all of it", tables)
    assert text.startswith("# all of it\n")
    inflated = next(line for line in text.splitlines() if line.startswith("| inflated"))
    assert inflated.count("*") == 1
    assert inflated.rstrip("| ").endswith("-")
    assert "broken\\|start" in text
    assert "**videos_per_class=10**: " in text


def test_latex_is_a_tabular_with_its_letters_escaped(tables):
    text = summary_latex(tables)
    assert text.count("\\begin{tabular}{lrr}") == text.count("\\end{tabular}") == 1
    body = text.split("\\midrule")[1]
    assert all(line.endswith("\\\\") for line in body.split("\\bottomrule")[0].strip().splitlines())
    assert "videos\\_per\\_class=1" in text
    assert "$\\pm$" in body


def test_the_page_above_links_to_every_condition(tables, tmp_path):
    pages = [tmp_path / "conditions" / f"{i}" / "report.html" for i in range(2)]
    study = dataclasses.replace(STUDY, videos_per_class=(1, 10))
    files = write_overview(tmp_path, tables, pages, study, classes=2)
    text = files.html.read_text()
    assert 'href="conditions/0/report.html"' in text
    assert 'href="conditions/1/report.html"' in text
    assert text.count("<svg") == 2  # one variant has two numbers of videos; wide and narrow
    assert "#0d1e" not in text  # every marker colour became a variable
    assert {path.suffix for path in (files.csv, files.markdown, files.latex)} == {".csv", ".md", ".tex"}
    assert write_overview(tmp_path, tables, pages, study, classes=2).html.read_text() == text
