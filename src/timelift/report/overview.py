"""The page above the pages of a study with several conditions: one picture, one table, a link to each."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from timelift.report import facts, figures, words
from timelift.report.template import render, write_whole


@dataclass(frozen=True)
class OverviewFiles:
    """Where the four were written."""

    html: Path
    csv: Path
    markdown: Path
    latex: Path


def write_overview(
    study_folder: Path, tables: Sequence[AtCondition], pages: Sequence[Path], study: Study, classes: int
) -> OverviewFiles:
    """Write report.html, report.csv, report.md and report.tex into the study's folder.

    pages: of the conditions, in the order of the tables. classes: how many, for the number of videos.
    """
    folder = Path(study_folder)
    files = OverviewFiles(*(folder / f"report.{ending}" for ending in ("html", "csv", "md", "tex")))
    tables = tuple(tables)
    write_whole(files.html, overview(folder, tables, pages, study, classes))
    write_whole(files.csv, summary_csv(tables))
    write_whole(files.markdown, summary_markdown(tables))
    write_whole(files.latex, summary_latex(tables))
    return files


def overview(
    folder: Path, tables: tuple[AtCondition, ...], pages: Sequence[Path], study: Study, classes: int
) -> str:
    """The HTML; links in it are relative to `folder`."""
    from markupsafe import Markup

    rows = rows_by_variant(tables)
    names = words.short_names(list(rows))
    groups: dict[str, list[AtCondition]] = {}
    for one in tables:
        groups.setdefault(", ".join(f"{key}={value}" for key, value in one.condition.fields), []).append(one)
    lines = {where: facts.lines_over_videos(of, classes) for where, of in groups.items()}
    file = folder / "study.toml"
    return render(
        "overview.html",
        names,
        study=study,
        tables=tables,
        rows=rows,
        caption=caption(tables),
        pictures={where: Markup(figures.over_videos(of, names)) for where, of in lines.items() if of},
        links=[facts.relative(page, folder) for page in pages],
        study_file=file.read_text(encoding="utf-8") if file.is_file() else "",
    )
