"""`timelift report`: one page, a CSV and a Markdown table of a study, from what is stored."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.cli.common import say

if TYPE_CHECKING:
    from timelift.comparison.table import StudyTable
    from timelift.runs.study import Finished


def command(
    study: Annotated[Path, typer.Argument(help="The folder of a study (`timelift compare --output`).")],
) -> None:
    """Write the page, the CSV and the Markdown of a study.

    Example: timelift report study/
    """
    print_and_write(study)


def print_and_write(folder: Path) -> None:
    """The tables on standard output, the files beside the runs; a study under way shows what there is.

    With several conditions each has its page, and one page stands above them.
    """
    from timelift.comparison.store import slug
    from timelift.comparison.study_file import parse_study
    from timelift.comparison.summary import AtCondition
    from timelift.report.overview import write_overview
    from timelift.report.page import write_report
    from timelift.runs.one_cell import study_data
    from timelift.runs.study import finished

    found = finished(folder)
    study = parse_study(folder / "study.toml")
    data = study_data(study, folder)
    tables, pages = [], []
    for one in found:
        table = _table(one)
        _print(table)
        into = folder / "conditions" / slug(str(one.condition)) if len(study.conditions) > 1 else folder
        pairs = list(zip(one.runs, one.folders, strict=True))
        files = write_report(
            folder,
            table,
            one.study,
            pairs,
            one.predictions,
            into=into,
            manifest=data.manifest,
            data_notes=data.notes,
        )
        tables.append(AtCondition(one.condition, table))
        pages.append(files.html)
        for path in (files.csv, files.markdown):
            say(f"wrote {path}")
    if len(study.conditions) > 1:
        above = write_overview(folder, tables, pages, study, len(data.manifest.classes))
        for path in (above.csv, above.markdown, above.latex):
            say(f"wrote {path}")
        pages.append(above.html)
    print(f"the page: {pages[-1]}")


def _table(found: "Finished") -> "StudyTable":
    import dataclasses

    from timelift.comparison.table import make_table

    table = make_table(
        found.store, found.study, found.runs, found.predictions, failed=found.failed, open=found.open
    )
    return dataclasses.replace(table, name=f"{table.name}, {found.condition}".removesuffix(", "))


def _print(table: "StudyTable") -> None:
    from timelift.comparison.wording import interval_text, points

    shown = Table(title=f"{table.name}: {table.metric}", title_justify="left")
    for heading, justify in (
        ("variant", "left"),
        ("mean ± s.e., %", "right"),
        ("runs", "right"),
        ("difference, points", "right"),
        ("these videos, trained again", "right"),
        ("new videos, trained again", "right"),
        ("verdict", "left"),
    ):
        shown.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows:
        difference = row.difference
        told = ("", "", "")
        if difference is not None:
            told = (
                points(difference.mean),
                interval_text(difference.interval_seeds),
                interval_text(difference.interval),
            )
        mean = "" if row.mean != row.mean else f"{points(row.mean)} ± {points(row.standard_error)}"
        name = f"{row.variant} (baseline)" if row.is_baseline else row.variant
        shown.add_row(name, mean, str(row.runs), *told, row.verdict)
    Console(highlight=False, width=None if sys.stdout.isatty() else 150).print(shown)
    print(f"\n{table.headline}\n")
