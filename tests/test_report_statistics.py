"""What a page shows beyond verdicts: times to an accuracy, ranks, other estimates. Fabricated numbers."""

import dataclasses

import numpy as np
import pytest

from test_comparison_reaching import BASE, FAST, SLOW, STUDY, run_of, write_log
from timelift.comparison.reaching import study_times
from timelift.comparison.table import study_table
from timelift.comparison.table_text import to_csv, to_markdown
from timelift.records import Predictions
from timelift.report.page import write_report
from timelift.report.ranks import ranks_picture
from timelift.report.statistics import statistics

RATE = {BASE: 0.5, FAST: 0.75, SLOW: 0.45, "other": 0.55}
FOUR = dataclasses.replace(STUDY, variants=(BASE, FAST, SLOW, "other"), linear_probe=False)


def answers_of(variant, seed):
    labels = np.arange(80) % 2
    right = np.random.default_rng([seed, *variant.encode()]).random(80) < RATE[variant]
    logits = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)][:, None]
    return Predictions(tuple(f"{i}.avi" for i in range(80)), ("",) * 80, labels, ("a", "b"), logits)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(table with times, runs with their folders, predictions) of four variants and five seeds."""
    folder = tmp_path_factory.mktemp("study")
    cells = [(variant, seed) for variant in FOUR.variants for seed in range(5)]
    runs = [run_of(*cell) for cell in cells]
    folders = [folder / f"{variant}-{seed}" for variant, seed in cells]
    for (variant, seed), place in zip(cells, folders, strict=True):
        write_log(place, variant, seed, every=0 if variant == "other" else 2)
    predictions = [answers_of(*cell) for cell in cells]
    table = study_table(runs, predictions, FOUR)
    times = study_times(runs, folders, FOUR, table.look.nominal)
    return dataclasses.replace(table, times=times), list(zip(runs, folders, strict=True)), predictions


def written(tmp_path, found, table=None):
    own, runs, predictions = found
    files = write_report(tmp_path, own if table is None else table, FOUR, runs, predictions)
    return files.html.read_text(encoding="utf-8")


def test_the_page_has_times_ranks_and_what_stands_beside(tmp_path, found):
    text = written(tmp_path, found)
    assert "Steps and seconds to an accuracy" in text
    assert "0 of 5" in text  # slow never gets there
    assert "runs may have shared the machine" in text
    assert text.count("Ranks at a glance") == 1
    assert "A view, not the verdict" in text
    assert "none of which decides" in text
    assert "#0d0e0" not in text
    assert len({part.split('"')[0] for part in text.split(' id="')[1:]}) == text.count(' id="')


def test_a_page_without_times_or_with_a_reason_says_so(tmp_path, found):
    table = found[0]
    assert "Steps and seconds" not in written(tmp_path, found, dataclasses.replace(table, times=None))
    missing = dataclasses.replace(table.times, rows=(), missing="No run was judged.")
    text = written(tmp_path, found, dataclasses.replace(table, times=missing))
    assert "No run was judged. So there is no time to an accuracy." in text


def test_csv_and_markdown_have_the_times_too(found):
    table = found[0]
    lines = to_csv(table).splitlines()
    names = lines[0].split(",")
    assert {"target", "reached", "steps_median", "seconds_p_adjusted", "bca_lower", "runs_to_settle"} <= set(
        names
    )
    assert "## Steps and seconds to an accuracy" in to_markdown(table)
    assert "Steps and seconds" not in to_markdown(dataclasses.replace(table, times=None))


def test_the_picture_of_ranks_tells_its_groups_in_words(found):
    table = found[0]
    names = {row.variant: row.variant for row in table.rows}
    ranked = statistics(table, names)["ranks"]
    told = ranks_picture(ranked, names, 7.6)
    best = ranked.variants[ranked.best_first[0]]
    assert best == FAST
    assert f"1 is best. {FAST}: {min(ranked.ranking.ranks):.2f};" in told
    joined = [
        ", ".join(ranked.variants[i] for i in group) for group in ranked.ranking.groups if len(group) > 1
    ]
    assert joined
    assert all(words in told for words in joined)
