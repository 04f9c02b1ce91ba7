"""The page's list of runs, costs, pairs, published figures. Every number is fabricated."""

import csv
import dataclasses
import io
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

import test_report as tr
from test_report import BASE, VARIANTS, Page, cells, fabricated_run, study, tabled  # noqa: F401
from timelift.comparison.axes import Condition
from timelift.comparison.published import Figure, Published, read_published
from timelift.comparison.store import Cell
from timelift.comparison.study import LINEAR_PROBE
from timelift.comparison.study_file import parse_study, study_to_toml
from timelift.comparison.summary import AtCondition, summary_latex, summary_markdown
from timelift.comparison.table_latex import escaped, to_latex
from timelift.comparison.table_text import COLUMNS, to_csv, to_markdown
from timelift.records import UsageError
from timelift.records.run import read_run, write_run
from timelift.report import words
from timelift.report.cost_figure import dodged
from timelift.report.costs import cost_points
from timelift.report.curves import anchor
from timelift.report.overview import write_overview
from timelift.report.page import write_report
from timelift.report.pairs import paired_differences
from timelift.report.run_list import run_lines, runs_csv, tried


def costed(cells):  # noqa: F811
    """The cells with costs: latencies of seed 0, 1, ... are 1, 2, ... ms times the variant's place."""
    runs, predictions = cells
    place = {name: i + 1 for i, name in enumerate(VARIANTS)}
    found = [
        (
            dataclasses.replace(
                run,
                multiply_adds=10**6 * place[run.variant],
                latency=1e-3 * (run.seed + 1) * place[run.variant],
            )
            if run.variant in place
            else run,
            folder,
        )
        for run, folder in runs
    ]
    return found, predictions


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_costs_come_back_from_a_run_and_old_runs_have_none(tmp_path):
    run = fabricated_run(BASE, 0, multiply_adds=12, latency=0.25)
    write_run(run, tmp_path)
    assert read_run(tmp_path) == run
    stored = json.loads((tmp_path / "run.json").read_text())
    del stored["multiply_adds"], stored["latency"]
    (tmp_path / "run.json").write_text(json.dumps(stored))
    old = read_run(tmp_path)
    assert (old.multiply_adds, old.latency) == (None, None)


def test_the_table_has_costs_and_the_interval_of_the_mean(study, cells):  # noqa: F811
    row = tabled(study, costed(cells)).rows[1]
    assert row.multiply_adds == 2_000_000
    assert row.latency == pytest.approx((0.004, 0.006, 0.008))
    wanted = stats.t.interval(0.95, 4, loc=row.mean, scale=stats.sem(row.accuracies))
    assert row.mean_interval == pytest.approx(wanted)
    values = read_csv(to_csv(tabled(study, costed(cells))))[1]
    assert list(values) == list(COLUMNS)
    assert float(values["latency"]) == pytest.approx(0.006)
    assert (values["multiply_adds"], values["seeds"]) == ("2000000", "0 1 2 3 4")
    assert float(values["mean_upper"]) == pytest.approx(wanted[1])
    for key in ("p", "p_adjusted", "level", "verdict", "lower", "seeds_upper"):
        assert values[key] != ""


def test_costs_are_points_of_what_was_recorded(study, cells):  # noqa: F811
    assert set(cost_points(tabled(study, cells))) == {"parameters"}
    points = cost_points(tabled(study, costed(cells)))
    assert list(points) == ["parameters", "multiply_adds", "latency_ms"]
    assert LINEAR_PROBE not in {p.row.variant for of in points.values() for p in of}
    assert [p.cost for p in points["latency_ms"]] == pytest.approx([3.0, 6.0, 9.0])
    assert points["latency_ms"][0].spread == pytest.approx((2.0, 4.0))
    assert [p.number for p in points["multiply_adds"]] == [1, 2, 3]


def test_no_two_points_of_a_picture_lie_on_each_other():
    rng = np.random.default_rng(5)
    for _ in range(50):
        across = rng.choice([0.5, 0.55, 1.7], 9)
        low = rng.random(9) * 2
        extents = list(zip(low, low + rng.random(9), strict=True))
        places = dodged(across, extents, 0.17)
        for (x, (a, b)), (y, (c, d)) in itertools.combinations(zip(places, extents, strict=True), 2):
            assert abs(x - y) >= 0.17 - 1e-9 or b <= c or d <= a
    assert dodged([1.0, 2.0], [(0, 1), (0, 1)], 0.2) == [1.0, 2.0]  # nothing moves without need
    assert dodged([1.0, 1.0], [(0, 1), (1, 2)], 0.2) == [1.0, 1.0]


def test_the_page_shows_costs_and_says_that_latency_is_a_hint(tmp_path, study, cells):  # noqa: F811
    text, _, _ = tr.written(tmp_path, study, costed(cells))
    page = Page(text)
    assert "Latency is only a hint" in page.text
    assert "timelift bench" in page.text
    alt = next(label for label in page.labels if label.startswith("Accuracy in percent against cost"))
    assert "Inflate(frames=3) 2 M at" in alt
    assert "Inflate(frames=3) 6 at" in alt
    assert "Latency is only" not in Page(tr.written(tmp_path, study, cells)[0]).text


def test_pairs_are_the_differences_seed_by_seed(tmp_path, study, cells):  # noqa: F811
    table = tabled(study, cells)
    pairs = paired_differences(table)
    assert BASE not in pairs
    base = dict(zip(table.rows[0].seeds, table.rows[0].accuracies, strict=True))
    for row in table.rows[1:]:
        own = [accuracy - base[seed] for seed, accuracy in zip(row.seeds, row.accuracies, strict=True)]
        assert [d for _, d in pairs[row.variant]] == pytest.approx(own)
        assert np.mean([d for _, d in pairs[row.variant]]) == pytest.approx(row.difference.mean)
    alts = Page(tr.written(tmp_path, study, cells)[0]).labels
    alt = next(label for label in alts if "by seed, in points" in label)
    assert f"seed 3 {words.signed(pairs[VARIANTS[1]][3][1])}" in alt


def test_a_probe_that_ran_once_stands_beside_every_run(study, cells):  # noqa: F811
    runs, predictions = cells
    kept = [i for i, (run, _) in enumerate(runs) if run.variant != LINEAR_PROBE or run.seed == 0]
    table = tabled(study, ([runs[i] for i in kept], [predictions[i] for i in kept]))
    pairs = paired_differences(table)[LINEAR_PROBE]
    assert len(pairs) == 5
    assert np.mean([d for _, d in pairs]) == pytest.approx(table.rows[-1].difference.mean)


@pytest.fixture
def mixed(tmp_path, cells):  # noqa: F811
    """Cells of every state: done ones, a failed one, one to come, and four selection runs of a variant."""
    done = [(Cell(0, "", run.variant, "", run.seed, "done"), folder) for run, folder in cells[0]]
    others = [
        (
            Cell(0, "", VARIANTS[2], "", 5, "failed", error="Traceback\nValueError: <no> room\n"),
            tmp_path / "no",
        ),
        (Cell(0, "", VARIANTS[1], "", 5, "new"), tmp_path / "nowhere"),
    ]
    for choice, seed, accuracy in (("a=1", 0, 0.25), ("a=1", 1, 0.5), ("a=2", 0, 0.75)):
        folder = tmp_path / f"tried-{choice}-{seed}"
        folder.mkdir()
        write_run(fabricated_run(BASE, seed, metrics={"acc/top1/validation": accuracy}), folder)
        others.append((Cell(0, "", BASE, choice, seed, "done"), folder))
    others.append((Cell(0, "", BASE, "a=2", 1, "failed", error="OSError: gone"), tmp_path / "gone"))
    return done + others


def test_every_run_is_listed_with_a_link_to_its_curve(tmp_path, study, cells, mixed):  # noqa: F811
    table = tabled(study, cells)
    files = write_report(tmp_path, table, study, *cells, cells=mixed, chosen={BASE: "a=2"})
    text = files.html.read_text(encoding="utf-8")
    page = Page(text)
    curves = {source[1:] for source in page.sources if source.startswith("#learning-")}
    assert curves == {f"{anchor(name)}-seed-{seed}" for name in VARIANTS for seed in range(5)}
    assert curves <= set(page.ids)
    assert {anchor(name) for name in VARIANTS} <= set(page.ids)
    assert "All 22 runs as a list" in page.text
    assert "ValueError: <no> room" in page.text
    assert "5 to come" in page.text
    assert "in 4 selection runs" in page.text
    assert "a=2 chosen 75.0 0 75.0, 1 failed: OSError: gone" in page.text


def test_runs_csv_has_a_line_for_each_run(tmp_path, cells, mixed):  # noqa: F811
    lines = run_lines(mixed, costed(cells)[0], tmp_path)
    rows = read_csv(runs_csv(lines))
    assert len(rows) == len(mixed)
    assert {row["state"] for row in rows} == {"done", "failed", "new"}
    own = [row for row in rows if row["tries"] == "a=1"]
    assert [(row["validation_accuracy"], row["accuracy"]) for row in own] == [("0.25", ""), ("0.5", "")]
    first = rows[0]
    assert (first["variant"], first["seed"], first["accuracy"], first["latency"]) == (
        BASE,
        "0",
        "0.5",
        "0.001",
    )
    assert (tmp_path / first["folder"]).is_dir()
    choices = tried(lines, {BASE: "a=2"})
    assert [(one.choice, one.mean, one.is_chosen) for one in choices] == [
        ("a=2", 0.75, True),
        ("a=1", 0.375, False),
    ]


def test_the_overview_leads_to_the_curves_of_each_condition(tmp_path, study, cells):  # noqa: F811
    tables, pages, lines = [], [], []
    study = dataclasses.replace(study, videos_per_class=(1, 2))
    for condition in study.conditions:
        here = study.at(condition)
        into = tmp_path / "conditions" / f"{condition}"
        failed = (
            Cell(0, str(condition), VARIANTS[2], "", 9, "failed", error="x\nValueError: late"),
            tmp_path / "no",
        )
        of = [(Cell(0, str(condition), r.variant, "", r.seed, "done"), f) for r, f in cells[0]] + [failed]
        table = tabled(here, cells)
        pages.append(write_report(tmp_path, table, here, *cells, into=into, cells=of).html)
        tables.append(AtCondition(condition, table))
        lines.append(run_lines(of, cells[0], tmp_path))
    files = write_overview(tmp_path, tables, pages, study, 6, lines)
    page = Page(files.html.read_text(encoding="utf-8"))
    targets = [source for source in page.sources if "#learning-" in source]
    assert len(targets) == 2 * len(VARIANTS)
    below = [Page(one.read_text(encoding="utf-8")).ids for one in pages]
    assert all(target.split("#")[1] in below[i % 2] for i, target in enumerate(targets))
    assert "2 runs failed" in page.text
    assert "ValueError: late" in page.text
    assert len(read_csv(files.runs.read_text())) == 2 * (len(cells[0]) + 1)


def test_many_runs_stay_one_readable_page(tmp_path, study, cells):  # noqa: F811
    """30 seeds of 100 epochs with 240 selection runs: under 2 MB, the lists folded."""
    runs, predictions, done = [], [], []
    rng = np.random.default_rng(0)
    for variant in VARIANTS[:2]:
        for seed in range(30):
            folder = tmp_path / f"{VARIANTS.index(variant)}-{seed}"
            folder.mkdir()
            rows = [f"{e},{rng.random() + 1},{rng.random()},{rng.random()}" for e in range(1, 101)]
            text = "\n".join(["epoch,loss,accuracy,validation_accuracy", *rows]) + "\n"
            (folder / "log.csv").write_text(text)
            runs.append((fabricated_run(variant, seed), folder))
            predictions.append(tr.fabricated_predictions(variant, seed))
            done.append((Cell(0, "", variant, "", seed, "done"), folder))
    for choice, seed in itertools.product(range(80), range(3)):
        error = "Traceback\nRuntimeError: out of memory"
        done.append((Cell(0, "", BASE, f"a={choice}", seed, "failed", error=error), tmp_path / "no"))
    study = dataclasses.replace(study, variants=VARIANTS[:2], seeds=30, linear_probe=False, max_seeds=30)
    table = tabled(study, (runs, predictions))
    files = write_report(tmp_path, table, study, runs, predictions, cells=done)
    text = files.html.read_text(encoding="utf-8")
    assert len(text) < 2_000_000
    assert "<details open><summary>All" not in text
    assert "240 selection runs" in text


def published_study(tmp_path, text, **changes):
    body = 'data = "v"\nvariants = ["plain", "x(c={c})"]\nlinear_probe = false\n[grid]\nc = [[1, 2]]\n' + text
    (tmp_path / "study.toml").write_text(changes.get("head", "") + body)
    return parse_study(tmp_path / "study.toml")


TABLE = """
[published]
source = "A \\"paper\\", Table 2"
plain = {"videos_per_class=1, clip.frames=8" = [0.5]}
[published."x(c={c})"]
"videos_per_class=1, clip.frames=8" = [0.4, 0.02]
"videos_per_class=2, clip.frames=8" = [1, 0]
[axes]
"clip.frames" = [8, 16]
"""


def test_a_published_table_comes_back_from_the_file(tmp_path):
    study = published_study(tmp_path, TABLE, head="videos_per_class = [1, 2]\n")  # noqa: F811
    assert study.published == Published(
        'A "paper", Table 2',
        (
            ("plain", "videos_per_class=1, clip.frames=8", Figure(0.5)),
            ("x(c={c})", "videos_per_class=1, clip.frames=8", Figure(0.4, 0.02)),
            ("x(c={c})", "videos_per_class=2, clip.frames=8", Figure(1.0, 0.0)),
        ),
    )
    (tmp_path / "again.toml").write_text(study_to_toml(study))
    assert dataclasses.replace(parse_study(tmp_path / "again.toml"), name=study.name) == study
    here = study.at(Condition(2, (("clip.frames", 8),)))
    assert here.published.of("x(c={c})") == Figure(1.0, 0.0)
    assert here.published.of("plain") is None
    plain = published_study(tmp_path, '[published]\nsource = "s"\nplain = [0.25, 0.5]\n')
    assert plain.at(plain.conditions[0]).published.of("plain") == Figure(0.25, 0.5)
    (tmp_path / "again.toml").write_text(study_to_toml(plain))
    assert parse_study(tmp_path / "again.toml").published == plain.published


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("[0.4, 0.02]", "[40, 2]", r'line 12: published\."x\(c=\{c\}\)"\."videos.*fractions from 0 to 1'),
        ("[0.4, 0.02]", '"40 %"', r"line 12: .*\[mean, standard error\]"),
        ("[0.4, 0.02]", "[0.4, 0.1, 0.2]", r"line 12: "),
        ("[0.4, 0.02]", "[true, 0.1]", r"line 12: "),
        ("=2, clip.frames=8", "=3, clip.frames=8", r"line 13: .*no condition; there are videos_per_class=1"),
        ('published."x(c={c})"', 'published."y"', r'line 11: published\."y": not one of the variants'),
        ("source =", "sources =", r"line 8: published: source is missing"),
    ],
)
def test_what_is_wrong_with_a_published_table_is_said_with_its_line(tmp_path, old, new, wrong):
    with pytest.raises(UsageError, match=wrong):
        published_study(tmp_path, TABLE.replace(old, new, 1), head="videos_per_class = [1, 2]\n")


def test_a_table_that_is_none_is_refused():
    with pytest.raises(UsageError, match="published: 3 came; a table"):
        read_published(3, ["a"], [""])


@pytest.mark.parametrize(("shift", "told"), [(0.0, "within"), (0.4, "above"), (-0.4, "below")])
def test_published_figures_stand_beside_ours(tmp_path, study, cells, shift, told):  # noqa: F811
    mean = tabled(study, cells).rows[1].mean
    figure = Figure(min(1.0, mean + shift), 0.011)
    study = dataclasses.replace(study, published=Published("A paper", ((VARIANTS[1], "", figure),)))
    table = tabled(study, cells)
    row = table.rows[1]
    assert row.is_as_published == (told == "within")
    assert table.rows[0].is_as_published is None
    text, files, _ = tr.written(tmp_path, study, cells, table)
    page = Page(text)
    assert "A paper: mean ± standard error" in page.text
    low, high = (words.percent(bound) for bound in row.mean_interval)
    assert f"{words.percent(figure.mean)} ± 1.1 {words.percent(mean)} ±" in page.text
    assert f"{low} to {high} {words.signed(mean - figure.mean)} {told}" in page.text
    values = read_csv(files.csv.read_text())[1]
    assert (values["published_mean"], values["as_published"]) == (str(figure.mean), str(told == "within"))
    assert f": {told}" in to_markdown(table)
    assert f": {told}" in summary_markdown("s", (AtCondition(Condition(1), table),))
    assert (
        "Beside the published"
        not in tr.written(tmp_path, dataclasses.replace(study, published=None), cells)[0]
    )


def test_latex_has_every_row_and_no_naked_letters(study, cells):  # noqa: F811
    table = tabled(study, cells)
    tables = (AtCondition(Condition(1), table), AtCondition(Condition(2), table))
    for text, rows in ((to_latex(table), len(table.rows)), (summary_latex(tables), len(table.rows))):
        body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
        lines = body.strip().splitlines()
        assert len(lines) == rows
        columns = text.split("tabular}{")[1].split("}")[0]
        assert all(line.endswith(r" \\") and line.count(" & ") == len(columns) - 1 for line in lines)
    assert escaped("50 % of {a_b} & c\\d ± 1") == r"50 \% of \{a\_b\} \& c\textbackslash{}d $\pm$ 1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20788920, "20.8 M"),
        (999.6, "1 k"),
        (1000, "1 k"),
        (31, "31"),
        (0, "0"),
        (0.0016, "1.6 m"),
        (-1200, "−1.2 k"),
        (5e15, "5000 T"),
        (math.nan, "–"),
    ],
)
def test_compact_numbers(value, text):
    assert words.compact(value) == text


def test_epochs_are_said_once():
    from timelift.report.facts import selections

    runs = [
        fabricated_run(BASE, i, selection=f"best validation epoch {e} of 9") for i, e in enumerate((3, 8, 5))
    ]
    runs.append(fabricated_run(BASE, 4, selection="last epoch: few videos"))
    assert selections(runs) == ["best validation epoch 3 to 8 of 9", "last epoch: few videos"]
