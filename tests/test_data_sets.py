"""Studies of the same variants on several data sets, put together. Every number in here is fabricated."""

import csv
import dataclasses

import numpy as np
import pytest
from scipy import stats

from timelift.cli.main import main
from timelift.comparison.data_sets import over_data_sets
from timelift.comparison.data_sets_text import data_sets_csv, data_sets_headline, data_sets_markdown
from timelift.comparison.store import Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.comparison.study_file import write_study
from timelift.comparison.table import study_table
from timelift.records import Predictions, Recipe, Run, UsageError
from timelift.records.predictions import write_predictions
from timelift.records.run import write_run
from timelift.report.data_sets import write_data_sets
from timelift.report.ranks import ranked_runs
from timelift.report.statistics import statistics
from timelift.runs.data_sets import tables_of

VARIANTS = ("lenet5_3d(channels=(2, 3))", "lenet5_3d(channels=(3, 4))", "c3d_small", "i3d")
RATE = dict(zip(VARIANTS, (0.5, 0.7, 0.45, 0.52), strict=True)) | {LINEAR_PROBE: 0.4}
VIDEOS = 60


def run_of(variant, seed, data):
    return Run(
        variant=variant,
        seed=seed,
        recipe=Recipe(),
        classes=("a", "b"),
        data_digest=data,
        train_digest="t",
        started_from="nothing",
        selection="last epoch",
        parameters=1,
    )


def answers_of(variant, seed, data):
    rng = np.random.default_rng([seed, *f"{variant} {data}".encode()])
    labels = np.arange(VIDEOS) % 2
    right = rng.random(VIDEOS) < RATE[variant]
    logits = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)][:, None]
    return Predictions(tuple(f"{i}.avi" for i in range(VIDEOS)), ("",) * VIDEOS, labels, ("a", "b"), logits)


def study_of(name, **changes):
    return dataclasses.replace(Study(name=name, data=f"/{name}", variants=VARIANTS, seeds=5), **changes)


def table_of(name, **changes):
    study = study_of(name, **changes)
    cells = [(variant, seed) for variant in study.cells for seed in range(study.seeds)]
    runs = [run_of(*cell, name) for cell in cells]
    return study_table(runs, [answers_of(*cell, name) for cell in cells], study)


@pytest.fixture(scope="module")
def tables():
    return [(name, table_of(name)) for name in ("kth", "ucf", "hmdb")]


@pytest.fixture(scope="module")
def over(tables):
    return over_data_sets(tables)


def accuracies(tables, variant):
    return [np.array(next(row for row in t.rows if row.variant == variant).accuracies) for _, t in tables]


def test_every_figure_is_what_its_estimator_gives(tables, over):
    assert over.baseline == VARIANTS[0]
    assert [row.variant for row in over.rows] == list(VARIANTS)  # without the linear probe
    base = accuracies(tables, VARIANTS[0])
    for row in over.rows:
        own = accuracies(tables, row.variant)
        assert row.iqm == pytest.approx(stats.trim_mean(np.concatenate(own), 0.25), abs=1e-12)
        assert row.interval[0] < row.iqm < row.interval[1]
        assert row.means == pytest.approx([one.mean() for one in own])
        if row.is_baseline:
            assert row.improvement is None
            continue
        shares = [stats.mannwhitneyu(b, a).statistic / 25 for a, b in zip(base, own, strict=True)]
        assert row.improvement.probability == pytest.approx(np.mean(shares), abs=1e-12)
    means = np.array([[row.means[i] for row in over.rows] for i in range(3)])
    assert over.ranking.statistic == pytest.approx(stats.friedmanchisquare(*means.T).statistic)
    assert [row.rank for row in over.rows] == pytest.approx(over.ranking.ranks)


def test_two_variants_have_ranks_and_no_friedman():
    tables = [(name, table_of(name, variants=VARIANTS[:2])) for name in ("kth", "ucf")]
    found = over_data_sets(tables)
    assert found.ranking is None
    assert sum(row.rank for row in found.rows) == pytest.approx(3)


def test_few_runs_give_no_interval_and_unfinished_studies_say_so(tables):
    few = over_data_sets(
        [("kth", table_of("kth", seeds=3)), ("ucf", dataclasses.replace(tables[1][1], open=4))]
    )
    assert np.isnan(few.rows[1].interval).all()
    assert np.isnan(few.rows[1].improvement.interval).all()
    assert "(no interval)" in data_sets_headline(few)
    assert data_sets_headline(few).startswith("Not finished: 4 runs still to come.")


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([], "1 data set came"),
        ([("kth", {})], "two data sets are called kth"),
        ([("ucf", {"variants": VARIANTS[:3]})], "ucf has no variant i3d, as kth has"),
        ([("ucf", {"variants": (*VARIANTS, "x")})], "kth has no variant x, as ucf has"),
        ([("ucf", {"baseline": "i3d"})], r"baseline is lenet5_3d\(channels=\(2, 3\)\) in kth and i3d in ucf"),
        ([("ucf", {"alpha": 0.01})], r"alpha is 0.05 in kth and 0.01 in ucf"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words(tables, others, words):
    RATE["x"] = 0.5
    with pytest.raises(UsageError, match=words):
        over_data_sets([tables[0], *((name, table_of(name, **changes)) for name, changes in others)])


def test_a_variant_without_a_run_or_a_common_seed_is_refused(tables):
    name, table = tables[0]
    rows = [dataclasses.replace(r, seeds=(), accuracies=()) if r.variant == "i3d" else r for r in table.rows]
    with pytest.raises(UsageError, match="kth has no finished run of i3d"):
        over_data_sets([(name, dataclasses.replace(table, rows=tuple(rows))), tables[1]])
    rows = [
        dataclasses.replace(r, seeds=(9, 10, 11, 12, 13)) if r.variant == "i3d" else r for r in table.rows
    ]
    with pytest.raises(UsageError, match="no seed in common"):
        over_data_sets([(name, dataclasses.replace(table, rows=tuple(rows))), tables[1]])


def test_csv_markdown_and_page_have_every_figure(tmp_path, over):
    rows = list(csv.DictReader(data_sets_csv(over).splitlines()))
    assert [float(row["iqm"]) for row in rows] == [row.iqm for row in over.rows]
    assert float(rows[1]["improvement_lower"]) == over.rows[1].improvement.interval[0]
    assert (rows[0]["improvement"], rows[0]["role"]) == ("", "baseline")
    assert float(rows[2]["mean: ucf"]) == over.rows[2].means[1]
    text = data_sets_markdown(over)
    assert text.count("\n| lenet5_3d") == 2
    studies = [tmp_path / name for name in over.names]
    studies[1].mkdir()
    (studies[1] / "report.html").touch()
    files = write_data_sets(over, studies, tmp_path / "together")
    page = files.html.read_text()
    assert 'href="../ucf/report.html"' in page
    assert 'href="../kth' not in page  # it has no page yet
    for row in over.rows:
        assert f"{100 * row.iqm:.1f}" in page
    assert "timelift report ../kth ../ucf ../hmdb --output ." in page
    assert "Average ranks, 1 is best." in page
    assert "#0d0e0" not in page


def test_ranks_of_one_study_take_runs_as_blocks(tables):
    table = tables[0][1]
    found = ranked_runs(table)
    scores = np.array(
        accuracies(tables[:1], VARIANTS[0]) + [accuracies(tables[:1], v)[0] for v in VARIANTS[1:]]
    )
    assert found.variants == VARIANTS
    assert found.ranking.ranks == pytest.approx(stats.rankdata(-scores, axis=0).mean(axis=1))
    assert found.ranking.p == pytest.approx(stats.friedmanchisquare(*scores).pvalue)
    assert found.variants[found.best_first[0]] == VARIANTS[1]
    assert ranked_runs(dataclasses.replace(table, open=1)) is None
    assert ranked_runs(table_of("kth", variants=VARIANTS[:3])) is None
    assert ranked_runs(table_of("kth", seeds=2)) is None


def test_the_page_of_a_study_shows_what_stands_beside_the_verdict(tables):
    table = tables[0][1]
    names = {row.variant: row.variant for row in table.rows}
    found = statistics(table, names)
    judged = {row.variant: row.difference for row in table.rows if row.difference}
    assert found["beside"].keys() == judged.keys()
    for variant, also in found["beside"].items():
        result = judged[variant]
        assert np.mean(result.differences) == pytest.approx(result.mean)
        assert also.bca[0] <= result.mean <= also.bca[1]
        assert also.bootstrap_t[0] <= result.mean <= also.bootstrap_t[1]
        settled = result.verdict != "inconclusive"
        more = None if result.runs_to_settle is None else f"{result.runs_to_settle - 5} more"
        assert also.more_runs == ("" if settled else more or "not runs alone")
    assert "Not told apart" in found["ranks_picture"]["narrow"]


def stored(folder, name, variants=VARIANTS, **changes):
    """A finished study on disk."""
    study = study_of(name, variants=variants, data=str(folder.parent / f"data {name}"), **changes)
    folder.mkdir()
    write_study(study, folder)
    store = Store(folder)
    for condition in study.conditions:
        store.add_cells(study.cells, range(study.seeds), str(condition))
    while (cell := store.claim("me")) is not None:
        run_folder = store.run_folder(cell)
        run_folder.mkdir(parents=True)
        write_predictions(answers_of(cell.variant, cell.seed, name), run_folder / "predictions.npz")
        write_run(run_of(cell.variant, cell.seed, study.data), run_folder)
        store.finish(cell)
    return folder


def test_the_command_writes_one_page_above_studies(tmp_path, capsys):
    folders = [str(stored(tmp_path / name, name, VARIANTS[:3], seeds=3)) for name in ("kth", "ucf")]
    with pytest.raises(SystemExit) as end:
        main(["report", *folders, "--output", str(tmp_path / "both")])
    assert not end.value.code
    told = " ".join(capsys.readouterr().out.split())
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == [
        "report.csv", "report.html", "report.md",
    ]  # fmt: skip
    assert "Over 2 data sets, a run beats one of lenet5_3d(channels=(2, 3))" in told
    assert not (tmp_path / "kth" / "report.html").exists()


def test_conditions_and_the_same_videos_are_no_data_sets(tmp_path):
    one = stored(tmp_path / "kth", "kth", VARIANTS[:2], seeds=1)
    sizes = stored(tmp_path / "sizes", "sizes", VARIANTS[:2], seeds=1, videos_per_class=(1, 2))
    with pytest.raises(UsageError, match="sizes is a study at 2 conditions"):
        tables_of([one, sizes])
    again = stored(tmp_path / "again", "kth", VARIANTS[:2], seeds=1)
    with pytest.raises(UsageError, match=r"kth and .*again are studies of the same videos"):
        tables_of([one, again])
    other = stored(tmp_path / "other", "ucf", VARIANTS[:2], seeds=1)
    assert [name for name, _ in tables_of([one, other])] == ["kth", "ucf"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["a", "b"], "give the page above 2 studies a folder"), (["a", "--output", "c"], "two or more studies")],
)
def test_one_study_has_no_output_and_several_need_one(capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
