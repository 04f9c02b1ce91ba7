"""Names of a study's rows: the same runs as the variants that they stand for, under shorter words."""

import dataclasses

import numpy as np
import pytest

from study_tiny import run_here, tiny_study
from timelift.comparison import study_table
from timelift.comparison.continuing import continue_study
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study, study_to_toml
from timelift.records.errors import UsageError
from timelift.report.page import write_report
from timelift.report.words import shared_network, short_names
from timelift.runs.study import finished
from videos_tiny import write_net, write_videos

NAMED = """
data = "videos"
variants = ["timm:r Framewise()", "inflate {start}", "NWI"]
seeds = 2
[axes]
start = ["zero", "average"]
[names]
"inflate {start}" = "timm:r Inflate(start='{start}')"
NWI = "timm:r Inflate(start='negative')"
[grid.NWI]
"training.learning_rate" = [1e-3]
[fused.both]
of = ["NWI", "inflate zero"]
[published]
source = "A paper"
NWI = [0.5]
"""


def read(tmp_path, text) -> Study:
    (tmp_path / "study.toml").write_text(text)
    return parse_study(tmp_path / "study.toml")


def test_names_are_filled_in_as_their_variants_are(tmp_path):
    study = read(tmp_path, NAMED)
    assert study.variants == ("timm:r Framewise()", "inflate zero", "inflate average", "NWI")
    starts = ("zero", "average", "negative")
    assert study.texts == ("timm:r Framewise()", *(f"timm:r Inflate(start='{start}')" for start in starts))
    assert read(tmp_path, study_to_toml(study)) == study


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("NWI = \"timm:r Inflate(start='negative')\"", "NWI = 3"), 9, "3 came; a variant as text"),
        (('"NWI"]', '"other"]'), 9, "names.NWI: is not one of the variants"),
        (('"inflate {start}" =', '"NWI" ='), 8, "the name lacks {start}"),
    ],
)
def test_names_that_cannot_be_are_named(tmp_path, change, line, words):
    text = NAMED.replace("NWI = \"timm:r Inflate(start='negative')\"\n", "") if line == 8 else NAMED
    with pytest.raises(UsageError, match=f"line {line}: .*") as error:
        read(tmp_path, text.replace(*change))
    assert words in str(error.value)


def test_a_name_keeps_its_meaning_and_new_ones_can_be_added(tmp_path):
    study = read(tmp_path, NAMED)
    other = dataclasses.replace(study, names=(("NWI", "timm:r Framewise()"),))
    with pytest.raises(UsageError, match=r"names\.NWI = .*negative"):
        continue_study(study, other)
    more = dataclasses.replace(study, variants=(*study.variants, "new"), names=(("new", "timm:q"),))
    assert continue_study(study, more).names == (*study.names, ("new", "timm:q"))


def test_named_runs_are_those_of_the_variants(tmp_path):
    data, net = write_videos(tmp_path / "data"), write_net(tmp_path)
    plain = tiny_study(data, net)
    names = tuple(zip(("A", "B"), plain.variants, strict=True))
    run_here(plain, tmp_path / "plain")
    run_here(dataclasses.replace(plain, variants=("A", "B"), baseline="A", names=names), tmp_path / "named")
    (spelled,), (named,) = finished(tmp_path / "plain"), finished(tmp_path / "named")
    assert [run.variant for run in named.runs] == ["A", "B"]
    for ours, theirs in zip(named.predictions, spelled.predictions, strict=True):
        np.testing.assert_array_equal(ours.clip_logits, theirs.clip_logits)
    table = study_table(named.runs, named.predictions, named.study)
    runs = list(zip(named.runs, named.folders, strict=True))
    files = write_report(tmp_path / "named", table, named.study, runs, named.predictions)
    for _, text in names:
        assert f"<code>{text.replace(chr(39), '&#39;')}</code>" in files.html.read_text()
        assert f"`{text}`" in files.markdown.read_text()


def test_names_are_never_shortened():
    given = ("flow, single", "flow, stack")
    assert short_names(given, given) == {name: name for name in given}
    assert shared_network(given, given) == ""
    lifted = ("timm:r Inflate()", "timm:r Framewise()")
    assert short_names((*lifted, *given), given)["timm:r Inflate()"] == "Inflate()"


def test_a_name_that_is_the_text_of_a_variant_is_refused():
    with pytest.raises(UsageError, match="is the text of a variant"):
        Study(name="s", data="/d", variants=("a", "b"), names=(("b", "a"), ("a", "b")))
