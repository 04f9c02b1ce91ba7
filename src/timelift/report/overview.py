"""The page above the pages of a study with several conditions: one picture, one table, a link to each."""

from collections.abc import Sequence
from pathlib import Path

from timelift.comparison.study import Study
from timelift.comparison.summary import (
    AtCondition,
    caption,
    rows_by_variant,
    summary_csv,
    summary_latex,
    summary_markdown,
)
from timelift.records.whole import write_text_whole
from timelift.report import curve_figures, curves, drawing, facts, words
from timelift.report.data_notes import names_markdown, notes_markdown, shown_notes
from timelift.report.page import ReportFiles, report_files
from timelift.report.run_list import RunLine, runs_csv
from timelift.report.template import render


def write_overview(
    study_folder: Path,
    tables: Sequence[AtCondition],
    pages: Sequence[Path],
    study: Study,
    classes: int,
    lines: Sequence[Sequence[RunLine]] | None = None,
    data_notes: Sequence[str] = (),
) -> ReportFiles:
    """Write report.html, .csv, .md and .tex and runs.csv into the study's folder.

    pages: of the conditions, in the order of the tables. classes: how many, for the number of videos.
    lines: every run of each condition, with links from the study's folder; None: no list of runs.
    data_notes: what was done to the videos before the first run.
    """
    folder = Path(study_folder)
    files = report_files(folder)
    tables, lines = tuple(tables), lines or [()] * len(tables)
    write_text_whole(files.html, overview(folder, tables, pages, study, classes, lines, data_notes))
    write_text_whole(files.csv, summary_csv(tables))
    write_text_whole(
        files.markdown,
        summary_markdown(study.name, tables) + names_markdown(study) + notes_markdown(data_notes),
    )
    write_text_whole(files.latex, summary_latex(tables))
    write_text_whole(files.runs, runs_csv(line for of in lines for line in of))
    return files


def overview(
    folder: Path,
    tables: tuple[AtCondition, ...],
    pages: Sequence[Path],
    study: Study,
    classes: int,
    lines: Sequence[Sequence[RunLine]],
    data_notes: Sequence[str] = (),
) -> str:
    """The HTML; links in it are relative to `folder`."""
    rows = rows_by_variant(tables)
    names = words.short_names(list(rows), words.given_names(study))
    groups: dict[str, list[AtCondition]] = {}
    for one in tables:
        groups.setdefault(", ".join(f"{key}={value}" for key, value in one.condition.fields), []).append(one)
    growing = {where: curves.lines_over_videos(of, classes) for where, of in groups.items()}
    file = folder / "study.toml"
    return render(
        "overview.html",
        names,
        study=study,
        tables=tables,
        rows=rows,
        caption=caption(tables),
        pictures={
            where: _picture(of, names, f"videos-{i}") for i, (where, of) in enumerate(growing.items()) if of
        },
        links=[facts.relative(page, folder) for page in pages],
        counts=[_counts(of) for of in lines],
        with_curves=[{line.variant for line in of if line.curve} for of in lines],
        anchors={name: curves.anchor(name) for name in rows},
        failed=[line for of in lines for line in of if line.state == "failed"],
        published_rows=[
            (one.condition, row) for one in tables for row in one.table.rows if row.published and row.runs
        ],
        source=study.published.source if study.published else "",
        several=True,
        data_notes=shown_notes(data_notes),
        study_file=file.read_text(encoding="utf-8") if file.is_file() else "",
    )


def _picture(lines: Sequence[curves.Line], names: dict[str, str], key: str) -> dict[str, object]:
    """For a wide and a narrow screen."""
    from markupsafe import Markup

    widths = {"wide": drawing.WIDE, "narrow": drawing.NARROW}
    return {
        kind: Markup(curve_figures.over_videos(lines, names, key, width)) for kind, width in widths.items()
    }


def _counts(lines: Sequence[RunLine]) -> dict[str, dict[str, int]]:
    """Variant -> state -> how many runs that are judged; selection runs as "tried"."""
    counts: dict[str, dict[str, int]] = {}
    for line in lines:
        of = counts.setdefault(line.variant, {})
        state = "tried" if line.tries else line.state
        of[state] = of.get(state, 0) + 1
    return counts
