"""The page of a study: one HTML file that needs nothing else, with CSV and Markdown beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from timelift.comparison.store import Cell
from timelift.comparison.study import Study
from timelift.comparison.table import StudyTable
from timelift.comparison.table_latex import to_latex
from timelift.comparison.table_text import to_csv, to_markdown
from timelift.records import Manifest, Predictions, Run
from timelift.records.video import read_manifest
from timelift.records.whole import write_text_whole
from timelift.report import cost_figure, curve_figures, curves, drawing, facts, figures, pairs_figure, words
from timelift.report.caveats import caveats
from timelift.report.costs import cost_points, numbered
from timelift.report.data_notes import leaks_of, names_markdown, notes_markdown, shown_notes
from timelift.report.pairs import paired_differences
from timelift.report.run_list import RunLine, by_variant, cells_of, run_lines, runs_csv, tried
from timelift.report.statistics import statistics
from timelift.report.template import render

MANIFEST = "data.csv"  # in a study's folder: the videos as they were scanned
MOST_CLASSES_IN_A_MATRIX = 12

POLICIES = {
    "error": "A study with a damaged video does not start.",
    "exclude": "Videos that are not ok were left out, for every variant.",
    "keep-readable": "Damaged videos were kept as far as their frames decode, for every variant.",
}


@dataclass(frozen=True)
class ReportFiles:
    """Where they were written."""

    html: Path
    csv: Path
    markdown: Path
    latex: Path
    runs: Path  # a CSV with every run, selection runs too


def write_report(
    study_folder: Path,
    table: StudyTable,
    study: Study,
    runs: Sequence[tuple[Run, Path]],
    predictions: Sequence[Predictions],
    *,
    into: Path | None = None,
    manifest: Manifest | None = None,
    data_notes: Sequence[str] = (),
    cells: Sequence[tuple[Cell, Path]] | None = None,
    chosen: Mapping[str, str] = MappingProxyType({}),
) -> ReportFiles:
    """Write report.html, .csv, .md and .tex and runs.csv into a folder, each whole or not at all.

    into: where; without it the study's own folder.
    runs: the finished ones with their folders; predictions in the same order. manifest: the videos with
    their splits; without it what the study's folder holds as data.csv. data_notes: what was done to them.
    cells: all of the condition with their folders, selection runs too; without them the finished and failed
    ones. chosen: variant -> the choice that it was judged by.
    """
    folder, into = Path(study_folder), Path(into or study_folder)
    into.mkdir(parents=True, exist_ok=True)
    files = report_files(into)
    if cells is None:
        cells = cells_of(runs, table.failed, "")
    lines = run_lines(cells, runs, into)
    if manifest is None and (folder / MANIFEST).is_file():
        manifest = read_manifest(folder / MANIFEST)
    html = page(folder, table, study, runs, predictions, manifest, data_notes, lines, chosen)
    write_text_whole(files.html, html)
    write_text_whole(files.csv, to_csv(table))
    write_text_whole(files.markdown, to_markdown(table) + names_markdown(study) + notes_markdown(data_notes))
    write_text_whole(files.latex, to_latex(table))
    write_text_whole(files.runs, runs_csv(lines))
    return files


def report_files(folder: Path) -> ReportFiles:
    """Their names in a folder."""
    names = ("report.html", "report.csv", "report.md", "report.tex", "runs.csv")
    return ReportFiles(*(folder / name for name in names))


def page(
    folder: Path,
    table: StudyTable,
    study: Study,
    runs: Sequence[tuple[Run, Path]],
    predictions: Sequence[Predictions],
    manifest: Manifest | None,
    data_notes: Sequence[str],
    lines: Sequence[RunLine],
    chosen: Mapping[str, str],
) -> str:
    """The HTML of the page; links in it are those of the lines."""
    answers = {(run.variant, run.seed): p for (run, _), p in zip(runs, predictions, strict=True)}
    records = [run for run, _ in runs]
    given = words.given_names(study)
    names = words.short_names([row.variant for row in table.rows], given)
    return render(
        "page.html",
        names,
        table=table,
        study=study,
        network=words.shared_network(list(names), given),
        one_start=_one_start(table),
        headline=words.sentences(table.headline),
        caveats=caveats(table, study, records, leaks_of(data_notes)),
        judged=[row for row in table.rows if row.difference is not None],
        **_pictures(table, names, runs),
        **_classes(table, answers),
        **statistics(table, names),
        time=facts.time_rows(table, records),
        data=None if manifest is None else facts.data_facts(manifest),
        data_notes=shown_notes(data_notes),
        all_fine=not any(note.startswith("bad_videos") for note in data_notes),
        leaks=leaks_of(data_notes),
        policy=POLICIES[study.bad_videos],
        settings=facts.settings(records),
        **_surroundings(records),
        run_groups=by_variant(lines),
        judged_runs=sum(not line.tries for line in lines),
        any_failed=any(line.state == "failed" for line in lines if not line.tries),
        tried=tried(lines, chosen),
        published_rows=[("", row) for row in table.rows if row.published and row.runs],
        source=study.published.source if study.published else "",
        several=False,
        study_file=_text_of(folder / "study.toml"),
        folder=folder.name,
    )


def _pictures(
    table: StudyTable, names: dict[str, str], runs: Sequence[tuple[Run, Path]]
) -> dict[str, object]:
    """The page's pictures; the ones with rows for a wide and a narrow screen."""
    from markupsafe import Markup

    widths = {"wide": drawing.WIDE, "narrow": drawing.NARROW}
    judged = any(row.difference is not None for row in table.rows)
    learned, costs = curves.curves(runs), cost_points(table)
    highest = max((max(c.loss) for of in learned.values() for c in of if c.loss), default=1.0)
    return {
        "forest": {kind: Markup(figures.forest(table, names, width)) for kind, width in widths.items()}
        if judged
        else None,
        "strips": {kind: Markup(figures.strips(table, names, width)) for kind, width in widths.items()},
        "pairs": {
            kind: Markup(pairs_figure.pair_by_pair(table, names, width)) for kind, width in widths.items()
        }
        if paired_differences(table)
        else None,
        "cost_points": costs,
        "cost_picture": {
            kind: Markup(cost_figure.accuracy_by_cost(costs, names, width)) for kind, width in widths.items()
        }
        if len(numbered(table)) > 1 and costs
        else None,
        "numbered": numbered(table),
        "anchors": {name: curves.anchor(name) for name in learned},
        "curves": {
            name: Markup(curve_figures.learning_curves(names[name], curves.anchor(name), of, highest))
            for name, of in learned.items()
        },
        "validated": any(c.validation for of in learned.values() for c in of),
    }


def _classes(table: StudyTable, answers: Mapping[facts.Key, Predictions]) -> dict[str, object]:
    """Accuracy by class of all variants; confusions of the baseline and of the best variant."""
    classes = next(iter(answers.values())).classes
    baseline = next(row for row in table.rows if row.is_baseline)
    best = facts.best_variant(table)
    shown = [row for row in (baseline, best) if row is not None and row.runs]
    shares = {row.variant: facts.confusions(row, answers) for row in shown}
    return {
        "classes": classes,
        "class_accuracy": facts.class_accuracy(table, answers),
        "confusions": shares if len(classes) <= MOST_CLASSES_IN_A_MATRIX else {},
        "confused": {name: facts.often_confused(share) for name, share in shares.items()},
        "best": best,
    }


def _surroundings(runs: Sequence[Run]) -> dict[str, object]:
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        for package, version in run.versions.items():
            versions.setdefault(package, {})[version] = None
    return {
        "versions": {package: list(found) for package, found in versions.items()},
        "hardware": list(dict.fromkeys(run.hardware for run in runs if run.hardware)),
        "seconds": facts.seconds(runs),
        "selections": facts.selections(runs),
    }


def _one_start(table: StudyTable) -> str:
    """Where all rows started from; empty if that differs."""
    starts = {row.started_from for row in table.rows if row.runs}
    return starts.pop() if len(starts) == 1 else ""


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
