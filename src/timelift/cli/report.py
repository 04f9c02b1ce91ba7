"""`timelift report`: one page, a CSV and a Markdown table of a study, from what is stored."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.cli.common import say


def command(
    study: Annotated[Path, typer.Argument(help="The folder of a study (`timelift compare --output`).")],
) -> None:
    """Write the page, the CSV and the Markdown of a study.

    Example: timelift report study/
    """
    print_and_write(study)


def print_and_write(folder: Path) -> None:
    """The table on standard output, the files beside the runs; a study under way shows what there is."""
    from timelift.comparison.table import make_table
    from timelift.comparison.wording import interval_text, points
    from timelift.report.page import write_report
    from timelift.runs.one_cell import study_data
    from timelift.runs.study import finished

    found = finished(folder)
    table = make_table(
        found.store, found.study, found.runs, found.predictions, failed=found.failed, open=found.open
    )
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
    pairs = list(zip(found.runs, found.folders, strict=True))
    data = study_data(found.study, folder)
    files = write_report(
        folder, table, found.study, pairs, found.predictions, manifest=data.manifest, data_notes=data.notes
    )
    for path in (files.csv, files.markdown):
        say(f"wrote {path}")
    print(f"the page: {files.html}")
