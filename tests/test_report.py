"""The page of a study. Every number in here is fabricated: no network was trained for it."""

import csv
import dataclasses
import html.parser
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from timelift.comparison.store import Cell
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.comparison.table import study_table
from timelift.comparison.wording import duration, points
from timelift.records import DataError, Manifest, Predictions, Recipe, Run, Video
from timelift.records.video import write_manifest
from timelift.report import curves, facts, words
from timelift.report.caveats import caveats
from timelift.report.page import write_report

NETWORK = "timm:made_up(weights='im age')"
BASE = f"{NETWORK} Framewise()"
VARIANTS = (BASE, f"{NETWORK} Inflate(frames=3)", f"{NETWORK} Factorize(order='both') @ first(2)")
CLASSES = ("juggle <balls>", "row & paddle", "swing", "sit", "stand up", "run")
GROUPS, PER_GROUP = 12, 3
RATES = {VARIANTS[0]: 0.5, VARIANTS[1]: 0.75, VARIANTS[2]: 0.52, LINEAR_PROBE: 0.45}


class Page(html.parser.HTMLParser):
    """What a browser would make of it: tags closed in order, ids, links, text."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.sources, self.words, self.labels = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.labels += [found["aria-label"]] if "aria-label" in found else []
        self.sources += [
            found[key] for key in ("src", "href", "xlink:href", "action", "srcset") if key in found
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def fabricated_run(variant, seed, **changes):
    rng = np.random.default_rng([seed, *variant.encode()])
    metrics = {"acc/top1/video": 0.5}
    if variant != LINEAR_PROBE:
        metrics |= {
            f"time/{order}": 0.6 - 0.1 * i + 0.01 * rng.random() for i, order in enumerate(facts.ORDERS)
        }
    run = Run(
        variant=variant,
        seed=seed,
        recipe=Recipe(),
        classes=CLASSES,
        data_digest="d",
        train_digest="t",
        started_from="made-up weights",
        selection="best validation epoch 3 of 4",
        parameters=1234567,
        metrics=metrics,
        versions={"python": "3.99", "torch": "9.9"},
        hardware="an abacus",
        seconds={"train": 61.0, "evaluate": 2.0},
    )
    return dataclasses.replace(run, **changes)


def fabricated_predictions(variant, seed):
    videos = GROUPS * PER_GROUP
    labels = np.arange(videos) % len(CLASSES)
    rng = np.random.default_rng([7, seed, *variant.encode()])
    hardness = np.random.default_rng(1).random(videos)
    right = 0.6 * hardness + 0.4 * rng.random(videos) < RATES[variant]
    answered = np.where(right, labels, (labels + 1) % len(CLASSES))
    logits = 4 * np.eye(len(CLASSES), dtype=np.float32)[answered][:, None]
    groups = tuple(f"g{i // PER_GROUP}" for i in range(videos))
    return Predictions(tuple(f"v{i}.avi" for i in range(videos)), groups, labels, CLASSES, logits)


def fabricated_manifest(root):
    videos = [
        Video(
            path=f"{split}/{i}.avi", label=name, split=split, group=f"{split}{i % 2}", status="ok", frames=9
        )
        for split, count in (("train", 4), ("test", 3))
        for name in CLASSES
        for i in range(count)
    ]
    videos.append(
        Video(
            path="train/bröken.avi", label=CLASSES[0], split="train", status="damaged", reason="cut off at 7"
        )
    )
    videos.append(Video(path="train/alone.avi", label=CLASSES[0], split="train", status="ok", frames=9))
    return Manifest(root=str(root), classes=CLASSES, videos=tuple(videos))


@pytest.fixture
def study():
    return Study(name="Fabricated study", data="/nowhere", variants=VARIANTS, seeds=5, bad_videos="exclude")


@pytest.fixture
def cells(study, tmp_path):
    """(Run, folder) and predictions of all cells; logs as training writes them."""
    runs, predictions = [], []
    for variant in study.cells:
        for seed in range(study.seeds):
            folder = tmp_path / "runs" / f"v {study.cells.index(variant)}" / f"seed-{seed}"
            folder.mkdir(parents=True)
            if variant != LINEAR_PROBE:
                rows = [f"{e},{2.5 / e + seed / 10},{e / 5},{e / 6 if e > 1 else ''}" for e in range(1, 5)]
                text = "\n".join(["epoch,loss,accuracy,validation_accuracy", *rows]) + "\n"
                (folder / "log.csv").write_text(text)
            runs.append((fabricated_run(variant, seed), folder))
            predictions.append(fabricated_predictions(variant, seed))
    return runs, predictions


def tabled(study, cells, **also):
    runs, predictions = cells
    return study_table([run for run, _ in runs], predictions, study, **also)


def written(tmp_path, study, cells, table=None):
    table = tabled(study, cells) if table is None else table
    files = write_report(tmp_path, table, study, *cells)
    return files.html.read_text(encoding="utf-8"), files, table


def test_the_page_is_well_formed_and_asks_for_nothing(tmp_path, study, cells):
    write_manifest(fabricated_manifest(tmp_path), tmp_path / "data.csv")
    text, files, _ = written(tmp_path, study, cells)
    page = Page(text)
    assert page.open == []
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    for source in page.sources:
        if source.startswith("#"):
            assert source[1:] in page.ids
        else:
            assert not re.match(r"[a-z]+:|//|/", source), f"{source} is not beside the page"
    assert not re.search(r"@import|<script|<link|url\((?!#)", text)
    assert "#0d0e0" not in text  # every marker colour has become a variable
    assert all(path.is_file() for path in dataclasses.astuple(files))
    assert not list(tmp_path.glob("*.partial"))


def test_links_to_runs_lead_there(tmp_path, study, cells):
    from urllib.parse import unquote

    page = Page(written(tmp_path, study, cells)[0])
    folders = [tmp_path / unquote(source) for source in page.sources if re.search(r"runs/.*/$", source)]
    assert len(folders) == len(cells[0])
    assert all(folder.is_dir() for folder in folders)
    logs = [tmp_path / unquote(source) for source in page.sources if source.endswith("log.csv")]
    assert len(logs) == len(VARIANTS) * 5
    assert all(log.is_file() for log in logs)


def test_every_number_of_the_table_is_on_the_page(tmp_path, study, cells):
    text, _, table = written(tmp_path, study, cells)
    page = Page(text)
    for row in table.rows:
        assert f"{words.percent(row.mean)} ± {words.percent(row.standard_error)}" in page.text
        if row.difference:
            assert words.interval(row.difference.interval) in page.text
            assert words.interval(row.difference.interval_seeds) in page.text
            assert row.verdict in page.text
    assert "1,234,567 parameters" in page.text
    alts = " ".join(page.labels)
    assert all(words.percent(a) in alts for row in table.rows for a in row.accuracies)


def test_the_headline_comes_first_with_short_names(tmp_path, study, cells):
    page = Page(written(tmp_path, study, cells)[0])
    assert tabled(study, cells).headline.startswith(f"{VARIANTS[1]} is better than {BASE} by")
    assert "Inflate(frames=3) is better than Framewise() by" in page.text
    order = [
        "is better than",
        "What this cannot say",
        "Differences from",
        "The table",
        "Every run",
        "Learning",
    ]
    order += ["Class by class", "Does it use time", "The data", "How it was made", "Again"]
    places = [page.text.index(words_) for words_ in order]
    assert places == sorted(places)


def test_names_of_the_data_are_text_not_markup(tmp_path, study, cells):
    text, _, _ = written(tmp_path, study, cells)
    assert "<balls>" not in text
    assert "juggle <balls>" in Page(text).text


def test_the_data_are_counted(tmp_path, study, cells):
    write_manifest(fabricated_manifest(tmp_path), tmp_path / "data.csv")
    page = Page(written(tmp_path, study, cells)[0])
    assert "juggle <balls> 6 (4) 3 (2)" in page.text  # 4 of two groups and 2 of their own; 3 in test
    assert "all 26 (4) 18 (2)" in page.text
    assert "train/bröken.avi damaged" in page.text
    assert "Videos that are not ok were left out" in page.text
    assert "1 video is not as it should be" in page.text


def test_without_a_manifest_the_page_says_what_is_not_counted(tmp_path, study, cells):
    page = Page(written(tmp_path, study, cells)[0])
    assert "holds no data.csv, so the training videos are not counted" in page.text


def test_failed_cells_show_their_last_line(tmp_path, study, cells):
    error = "Traceback ...\n  File x\nValueError: <no> room\n"
    failed = Cell(1, "", VARIANTS[2], "", 4, state="failed", error=error)
    runs, predictions = cells
    kept = [i for i, (run, _) in enumerate(runs) if (run.variant, run.seed) != (VARIANTS[2], 4)]
    cells = [runs[i] for i in kept], [predictions[i] for i in kept]
    page = Page(written(tmp_path, study, cells, tabled(study, cells, failed=[failed]))[0])
    assert "Runs that failed" in page.text
    assert "ValueError: <no> room" in page.text
    assert "File x" not in page.text


def test_an_unfinished_study_says_so_first(tmp_path, study, cells):
    page = Page(written(tmp_path, study, cells, tabled(study, cells, open=3))[0])
    assert page.text.index("Not finished") < page.text.index("What this cannot say")
    assert "3 runs are still to come" in page.text


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_runs_still_give_a_page(tmp_path, study, cells, seeds):
    runs, predictions = cells
    kept = [i for i, (run, _) in enumerate(runs) if run.seed < seeds]
    study = dataclasses.replace(study, seeds=seeds, max_seeds=seeds)
    page = Page(written(tmp_path, study, ([runs[i] for i in kept], [predictions[i] for i in kept]))[0])
    assert "too few runs" in page.text
    assert not re.search(r"\b(nan|inf)\b", page.text)


def test_one_variant_alone_gives_a_page(tmp_path, study, cells):
    runs, predictions = cells
    study = dataclasses.replace(study, variants=VARIANTS[:1], linear_probe=False)
    page = Page(written(tmp_path, study, (runs[:5], predictions[:5]))[0])
    assert "stands alone: there is no other variant" in page.text
    assert "Differences from the baseline" not in page.text


def test_a_baseline_that_never_finished_still_gives_a_page(tmp_path, study, cells):
    runs, predictions = cells
    kept = [i for i, (run, _) in enumerate(runs) if run.variant != BASE]
    page = Page(written(tmp_path, study, ([runs[i] for i in kept], [predictions[i] for i in kept]))[0])
    assert "Framewise()" in page.text
    assert not re.search(r"\b(nan|inf)\b", page.text)


def test_the_page_is_the_same_when_written_again(tmp_path, study, cells):
    first = written(tmp_path, study, cells)[0]
    assert written(tmp_path, study, cells)[0] == first


def test_csv_and_markdown_hold_the_rows(tmp_path, study, cells):
    _, files, table = written(tmp_path, study, cells)
    with files.csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == [row.variant for row in table.rows]
    assert float(rows[1]["mean"]) == table.rows[1].mean
    markdown = files.markdown.read_text(encoding="utf-8")
    assert table.headline in markdown
    assert all(points(row.mean) in markdown for row in table.rows)


def test_accuracy_by_class_and_confusions_against_a_loop(study, cells):
    runs, predictions = cells
    table = tabled(study, cells)
    answers = {(run.variant, run.seed): p for (run, _), p in zip(runs, predictions, strict=True)}
    counts = np.zeros((len(CLASSES), len(CLASSES)))
    for seed in range(5):
        own = answers[BASE, seed]
        for scores, label in zip(own.scores(), own.labels, strict=True):
            counts[label, scores.argmax()] += 1
    shares = facts.confusions(table.rows[0], answers)
    np.testing.assert_allclose(shares, counts / counts.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(facts.class_accuracy(table, answers)[BASE], shares.diagonal())
    shares = facts.confusions(next(row for row in table.rows if row.variant == VARIANTS[1]), answers)
    truth, answer, share = facts.often_confused(shares)[0]
    assert share == max(shares[r, c] for r in range(6) for c in range(6) if r != c) == shares[truth, answer]
    assert share < shares.max()


def test_what_disorder_costs_is_paired_by_run(study, cells):
    runs = [run for run, _ in cells[0]]
    row = facts.time_rows(tabled(study, cells), runs)[1]
    own = [run.metrics for run in runs if run.variant == VARIANTS[1]]
    assert row.accuracy[3] == pytest.approx(np.mean([m["time/frozen"] for m in own]))
    for place, order in enumerate(("shuffled", "reversed", "frozen")):
        lost = np.array([m["time/ordered"] - m[f"time/{order}"] for m in own])
        assert row.loss[place] == pytest.approx(lost.mean())
        assert row.loss_error[place] == pytest.approx(lost.std(ddof=1) / np.sqrt(5))
    assert LINEAR_PROBE not in {r.variant for r in facts.time_rows(tabled(study, cells), runs)}


def test_a_log_that_is_none_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n1,2.0\n")
    with pytest.raises(DataError, match=r"log\.csv is not the log of a run"):
        curves.read_curve(tmp_path / "log.csv", seed=0)


def test_caveats_are_those_that_hold(study, cells):
    runs = [run for run, _ in cells[0]]
    plain = " ".join(caveats(tabled(study, cells), study, runs))
    assert "36 test videos in 12 groups, of 6 classes" in plain
    assert f"{study.recipe.training.epochs} epochs of adamw" in plain
    assert "same weights" not in plain
    assert "No validation videos" not in plain
    others = [
        (
            dataclasses.replace(run, started_from=f"weights of {run.variant}", selection="last epoch: few"),
            folder,
        )
        for run, folder in cells[0]
    ]
    changed = " ".join(caveats(tabled(study, (others, cells[1])), study, [run for run, _ in others]))
    assert "do not all start from the same weights" in changed
    assert "No validation videos chose the epoch" in changed


def test_short_names_leave_out_only_what_all_share():
    assert words.short_names([*VARIANTS, LINEAR_PROBE]) == {
        VARIANTS[0]: "Framewise()",
        VARIANTS[1]: "Inflate(frames=3)",
        VARIANTS[2]: "Factorize(order='both') @ first(2)",
        LINEAR_PROBE: LINEAR_PROBE,
    }
    assert words.shared_network([*VARIANTS, LINEAR_PROBE]) == NETWORK
    different = ["timm:a Framewise()", "timm:b Framewise()", "i3d"]
    assert words.short_names(different) == {name: name for name in different}
    assert words.shared_network(different) == ""
    assert words.short_names([NETWORK, BASE]) == {NETWORK: NETWORK, BASE: "Framewise()"}


@pytest.mark.parametrize(
    ("came", "wanted"),
    [
        (words.signed(0.0314), "+3.1"),
        (words.signed(-0.0314), "−3.1"),
        (words.signed(-0.0001), "0.0"),
        (words.signed(float("nan")), "–"),
        (words.interval((-0.004, 0.058)), "−0.4 to +5.8"),
        (words.interval((float("-inf"), float("inf"))), "none"),
        (words.percent(float("nan")), "–"),
        (duration(7260), "2 h 1 min"),
        (duration(95), "1 min 35 s"),
        (words.last_line("a\nb: c\n\n"), "b: c"),
        (words.last_line(" \n"), "no reason is recorded"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
        (words.listed(["a"]), "a"),
        (words.plural(1, "class", "classes"), "1 class"),
        (words.plural(1018, "video"), "1,018 videos"),
    ],
)
def test_words(came, wanted):
    assert came == wanted


def test_sentences_are_cut_at_full_stops_and_not_in_numbers():
    assert words.sentences("A is 3.1 points up. timm:b lags. Worse: c.") == [
        "A is 3.1 points up.",
        "timm:b lags.",
        "Worse: c.",
    ]


def test_minus_signs_stand_before_numbers_only():
    assert words.typeset("by -3.8 to -0.1 (95 %), ImageNet-1k, 2-D") == (
        "by −3.8 to −0.1 (95\u00a0%), ImageNet-1k, 2-D"
    )


def test_the_template_travels_with_the_package():
    import timelift.report

    folder = Path(timelift.report.__file__).parent
    assert (folder / "page.html").is_file()
    assert (folder / "page.css").is_file()
