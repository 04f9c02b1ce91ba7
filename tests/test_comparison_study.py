"""Study files: round trips, and complaints that name the key and its line."""

import dataclasses
from pathlib import Path

import pytest

from timelift.comparison.continuing import continue_study
from timelift.comparison.study import Study
from timelift.comparison.study_file import line_of, parse_study, study_to_toml, write_study
from timelift.records.errors import DataError, UsageError
from timelift.records.recipe import Augmentation, ClipFormat, Optimisation, Recipe

MINIMAL = 'data = "videos"\nvariants = ["timm:resnet18", "timm:resnet18 inflate(frames=3)"]\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_not_said_has_the_defaults(tmp_path):
    study = parse_study(written(tmp_path, MINIMAL))
    assert study.name == "a study"
    assert study.data == str(tmp_path / "videos")
    assert (study.seeds, study.max_seeds, study.alpha, study.margin) == (5, 5, 0.05, 0.02)
    assert study.baseline == "timm:resnet18"
    assert study.vary_training_videos is False
    assert study.recipe == Recipe()
    assert study.cells == (*study.variants, "linear probe")


def test_a_subset_varies_unless_told_not_to(tmp_path):
    assert parse_study(written(tmp_path, MINIMAL + "videos_per_class = 10")).vary_training_videos
    told = MINIMAL + "videos_per_class = 10\nvary_training_videos = false"
    assert not parse_study(written(tmp_path, told)).vary_training_videos


FULL = Study(
    name='näme "quoted" \\ and\ttab\x7f',
    data="/videos/with space",
    variants=("timm:a(weights='imagenet') inflate(start='negative') @ first(2)", "b", "my_file.py:C(x=1)"),
    seeds=7,
    max_seeds=30,
    baseline="b",
    alpha=0.01,
    margin=0.015,
    spending="obrien-fleming",
    videos_per_class=12,
    vary_training_videos=False,
    official_list=1,
    bad_videos="keep-readable",
    selection="last",
    linear_probe=False,
    recipe=Recipe(
        clip=ClipFormat(frames=16, mean=(0.5,), std=(1 / 255,)),
        augmentation=Augmentation(crop_scale=(0.5, 0.9)),
        training=Optimisation(learning_rate=1e-5, optimizer="sgd", decay_norms_and_biases=True),
    ),
)


@pytest.mark.parametrize("study", [FULL, Study(name="s", data="/d", variants=("a",))], ids=["full", "bare"])
def test_written_and_read_back_a_study_is_the_same(study, tmp_path):
    assert parse_study(written(tmp_path, study_to_toml(study))) == study
    write_study(study, tmp_path)
    assert parse_study(tmp_path / "study.toml") == study
    assert not list(tmp_path.glob("*.partial"))


def test_data_beside_the_output_moves_with_it(tmp_path):
    (tmp_path / "here" / "out").mkdir(parents=True)
    write_study(
        Study(name="s", data=str(tmp_path / "here" / "videos"), variants=("a",)), tmp_path / "here" / "out"
    )
    (tmp_path / "here").rename(tmp_path / "there")
    assert parse_study(tmp_path / "there" / "out" / "study.toml").data == str(tmp_path / "there" / "videos")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (MINIMAL + "seed = 3\n", 3, "seed: unknown"),
        (MINIMAL + "\n# seeds = 1\nseeds = 'five'\n", 5, "seeds: 'five' came; a whole number is wanted"),
        (MINIMAL + "seeds = true\n", 3, "seeds: True came"),
        (MINIMAL + "seeds = 0\n", 3, "at least 1"),
        (MINIMAL + "max_seeds = 2\n", 3, "below seeds = 5"),
        (MINIMAL + "alpha = 5\n", 3, "alpha: 5.0 came"),
        (MINIMAL + "margin = 2\n", 3, "fraction"),
        (MINIMAL + "selection = 'test'\n", 3, "'validation' or 'last' is wanted"),
        (MINIMAL + "bad_videos = 'skip'\n", 3, "'error' or 'exclude'"),
        (MINIMAL + "baseline = 'c'\n", 3, "not one of the variants"),
        (MINIMAL + "vary_training_videos = true\n", 3, "videos_per_class"),
        (MINIMAL + "official_list = 0\n", 3, "lists count from 1"),
        (MINIMAL + "[training]\nepochs = 3\n", 3, "training: unknown"),
        (MINIMAL + "[recipe.training]\nepochs = 3\nepoch = 3\n", 5, "training.epoch:"),
        (MINIMAL + "[recipe.clip]\nframes = 8\n[recipe.training]\nepochs = 'x'\n", 6, "training.epochs:"),
        (MINIMAL + "[recipe]\ntraining.epochs = 'x'\n", 4, "training.epochs:"),
        (MINIMAL + "[recipe]\ntraining = { epochs = 'x' }\n", 4, "training.epochs:"),
        (MINIMAL + "recipe.clip.mean = ['x']\n", 3, "clip.mean"),
        (MINIMAL + "recipe = 3\n", 3, "tables such as"),
        ('data = "v"\nvariants = [\n  "a",\n  "a",\n]\n', 2, "'a' is there twice"),
        ('data = "v"\nvariants = []\n', 2, "at least one variant"),
        ('data = "v"\nvariants = "a"\n', 2, "a list of texts is wanted"),
        ('data = "v"\nvariants = ["linear probe"]\n', 2, "linear_probe = true"),
        ("data = 'v'\nvariants = = 1\n", 2, "(at line 2"),
        (MINIMAL + "[recipe.view]\nclips = 3\n", 3, "view: Unexpected"),
        (MINIMAL + '[axes]\n"clip.frame" = [8, 16]\n', 4, "axes.clip.frame: recipe: clip.frame: Unexpected"),
        (MINIMAL + '[axes]\n"clips.frames" = [8]\n', 4, "axes.clips.frames: a recipe has clip, "),
        (MINIMAL + '[axes]\n"clip.frames" = [8, "x"]\n', 4, "axes.clip.frames: recipe: clip.frames: "),
        (MINIMAL + "[axes]\nstart = ['zero']\n", 4, "axes.start: no variant has {start}"),
        (MINIMAL + '[axes]\n"clip.frames" = 8\n', 4, "axes.clip.frames: 8 came; a list"),
        (MINIMAL + '[grid]\nruns = 2\n"training.rate" = [1.0, 2.0]\n', 5, "grid.training.rate: "),
        (MINIMAL + "[grid]\nruns = 'x'\n", 4, "grid.runs: 'x' came"),
        (MINIMAL + "[grid]\nruns = 0\n", 4, "grid.runs: 0 came"),
        (MINIMAL + "[grid]\nwidth = [1, 2]\n", 4, "grid.width: no variant has {width}"),
        (MINIMAL + "[grid]\nrun = 2\n", 4, "grid.run: 2 came; a list"),
        (MINIMAL + '[grid."timm:no"]\n"training.epochs" = [1]\n', 3, "is not one of the variants"),
        (MINIMAL + '[grid."timm:resnet18"]\nwidth = [1, 2]\n', 4, "no variant has {width}"),
        (MINIMAL + '[grid."timm:resnet18"]\n\n"training.epoch" = [1, 2]\n', 5, "training.epoch: Unexpected"),
        (MINIMAL + '[grid."timm:resnet18"."x=1, y.z=2"]\n"training.epochs" = [1]\n', 3, "is no condition"),
        (MINIMAL + "early_stop = true\n", 3, "early_stop: True came; a table is wanted"),
        (
            MINIMAL + "[early_stop]\nevery = 3\nlevels = 0.1\n",
            5,
            "early_stop.levels: unknown; known are every",
        ),
        (MINIMAL + "[early_stop]\nevery = 'x'\n", 4, "early_stop.every: 'x' came; a whole number"),
        (MINIMAL + "[early_stop]\nevery = 3\nlevel = 2\n", 5, "early_stop.level: 2.0 came"),
        (MINIMAL + "[early_stop]\nevery = 5\n", 4, "would never have a round"),
    ],
)
def test_a_complaint_names_the_key_and_its_line(text, line, words, tmp_path):
    with pytest.raises(UsageError) as complaint:
        parse_study(written(tmp_path, text))
    message = str(complaint.value)
    assert words in message
    assert f"a study.toml, line {line}: " in message or f"at line {line}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"), [("variants = ['a']", "data: missing"), ("data = 'd'", "variants: missing")]
)
def test_what_must_be_said_is_asked_for(text, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        parse_study(written(tmp_path, text))


def test_no_file_and_no_text_are_bad_data(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml cannot be read"):
        parse_study(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        parse_study(tmp_path / "bytes.toml")


def test_lines_are_found_in_the_right_table():
    text = 'a = 1\n[x]\na = 2\n["y z"]\nb.c = 3\n'
    assert [line_of(text, keys) for keys in (["a"], ["x", "a"], ["y z", "b", "c"], ["q"])] == [1, 3, 5, None]


def test_variants_and_seeds_can_be_added():
    old = Study(name="s", data="/d", variants=("a", "b"))
    new = Study(name="s", data="/d", variants=("c", "a"), seeds=10, baseline="a")
    both = continue_study(old, new)
    assert (both.variants, both.seeds, both.baseline) == (("a", "b", "c"), 10, "a")
    fewer = continue_study(both, Study(name="s", data="/d", variants=("c",), seeds=3))
    assert fewer == both


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"margin": 0.05}, "margin = 0.02, not 0.05"),
        ({"data": "/other"}, "data = '/d', not '/other'"),
        ({"selection": "last"}, "selection = 'validation', not 'last'"),
        ({"videos_per_class": 5}, "videos_per_class = None, not 5"),
        ({"baseline": "b"}, "baseline = 'a', not 'b'"),
        (
            {"recipe": Recipe(training=Optimisation(epochs=3))},
            r"recipe\.training\.epochs = 20, not 3\. Only variants, seeds and conditions",
        ),
    ],
)
def test_another_protocol_is_refused_and_the_difference_named(change, words):
    old = Study(name="s", data="/d", variants=("a", "b"))
    epochs = Recipe().training.epochs
    with pytest.raises(UsageError, match=words.replace("20", str(epochs))):
        continue_study(old, dataclasses.replace(old, **change))
