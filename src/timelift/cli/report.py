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
    study: Annotated[
        list[Path],
        typer.Argument(
            help="The folder of a study (`timelift compare --output`); or of several, each on a data set of "
            "its own, with the same variants."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="For several studies: the folder of the page above them.")
    ] = None,
) -> None:
    """Write the page, the CSV and the Markdown of a study, or of several data sets together.

    Example: timelift report study/
    """
    from timelift.records.errors import UsageError

    if len(study) > 1 and output is None:
        raise UsageError(
            f"--output: give the page above {len(study)} studies a folder, as --output together/"
        )
    if len(study) == 1 and output is not None:
        raise UsageError("--output goes with two or more studies; one study's page stands in its own folder")
    if output is None:
        print_and_write(study[0])
    else:
        write_together(study, output)


def write_together(folders: list[Path], output: Path) -> None:
    """The page, the CSV and the Markdown above studies of the same variants on several data sets."""
    from timelift.comparison.data_sets import over_data_sets
    from timelift.comparison.data_sets_text import data_sets_headline
    from timelift.report.data_sets import write_data_sets
    from timelift.runs.data_sets import names_of, tables_of

    over = over_data_sets(tables_of(folders))
    files = write_data_sets(over, folders, output, names_of(folders))
    print(f"{data_sets_headline(over)}\n")
    for path in (files.csv, files.markdown):
        say(f"wrote {path}")
    print(f"the page: {files.html}")


def print_and_write(folder: Path) -> None:
    """The tables on standard output, the files beside the runs; a study under way shows what there is.

    With several conditions each has its page, and one page stands above them.
    """
    from timelift.comparison.store import slug
    from timelift.comparison.study_file import parse_study
    from timelift.comparison.summary import AtCondition
    from timelift.report.overview import write_overview
    from timelift.report.page import write_report
    from timelift.report.run_list import run_lines
    from timelift.runs.one_cell import study_data
    from timelift.runs.study import finished

    found = finished(folder)
    study = parse_study(folder / "study.toml")
    data = study_data(study, folder)
    tables, pages, lines = [], [], []
    for one in found:
        table = _table(one)
        _print(table)
        into = folder / "conditions" / slug(str(one.condition)) if len(study.conditions) > 1 else folder
        pairs = list(zip(one.runs, one.folders, strict=True))
        here = [cell for cell in one.store.status() if cell.condition == str(one.condition)]
        cells = [(cell, one.store.run_folder(cell)) for cell in here]
        files = write_report(
            folder,
            table,
            one.study,
            pairs,
            one.predictions,
            into=into,
            manifest=data.manifest,
            data_notes=data.notes,
            cells=cells,
            chosen=_chosen(one),
        )
        lines.append(run_lines(cells, pairs, folder))
        tables.append(AtCondition(one.condition, table))
        pages.append(files.html)
        for path in (files.csv, files.markdown, files.latex, files.runs):
            say(f"wrote {path}")
    if len(study.conditions) > 1:
        above = write_overview(folder, tables, pages, study, len(data.manifest.classes), lines, data.notes)
        for path in (above.csv, above.markdown, above.latex, above.runs):
            say(f"wrote {path}")
        pages.append(above.html)
    print(f"the page: {pages[-1]}")


def _chosen(found: "Finished") -> dict[str, str]:
    """Variant -> the choice that it was judged by; a variant without choices is missing."""
    noted = {name: found.store.choices(str(found.condition), name) for name in found.study.variants}
    return {name: choices[0] for name, choices in noted.items() if choices}


def _table(found: "Finished") -> "StudyTable":
    import dataclasses

    from timelift.comparison.reaching import study_times
    from timelift.comparison.table import make_table

    table = make_table(
        found.store,
        found.study,
        found.runs,
        found.predictions,
        failed=found.failed,
        open=found.open,
        stopped=found.stopped,
    )
    times = study_times(*found.timed, found.study, table.look.nominal, found.open)
    name = f"{table.name}, {found.condition}".removesuffix(", ")
    return dataclasses.replace(table, name=name, times=times)


def _print(table: "StudyTable") -> None:
    from timelift.comparison.reaching_text import time_headline
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
    if table.times is not None and table.times.rows and not table.open:
        print(f"{time_headline(table.times)}\n")
