"""A study at several conditions in one table, a row a variant and a column a condition."""

import csv
import io
import math
from dataclasses import dataclass

from timelift.comparison.axes import Condition
from timelift.comparison.table import Row, StudyTable
from timelift.comparison.table_latex import tabular
from timelift.comparison.table_text import COLUMNS, plain, published_words, values_of
from timelift.comparison.wording import points

STAR = {"better": "*", "worse": "*"}
DAGGER = {"stopped early": "†"}


@dataclass(frozen=True)
class AtCondition:
    """The table of one condition."""

    condition: Condition
    table: StudyTable


def rows_by_variant(tables: tuple[AtCondition, ...]) -> dict[str, list[Row | None]]:
    """Variant -> its row at each condition, None where it has none; in the first table's order."""
    names = dict.fromkeys(row.variant for one in tables for row in one.table.rows)
    return {
        name: [next((row for row in one.table.rows if row.variant == name), None) for one in tables]
        for name in names
    }


def summary_csv(tables: tuple[AtCondition, ...]) -> str:
    """One line for each variant and condition, with everything that a single table's CSV has."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("condition", *COLUMNS))
    for one in tables:
        for row in one.table.rows:
            values = values_of(row, one.table.times)
            writer.writerow((one.condition, *(plain(values.get(column, "")) for column in COLUMNS)))
    return text.getvalue()


def summary_markdown(name: str, tables: tuple[AtCondition, ...]) -> str:
    """Mean ± standard error in percent, parameters, and one headline a condition."""
    headings = ("variant", *(str(one.condition) for one in tables))
    lines = [f"# {name}", "", _row(headings), "|" + "---|" * len(headings)]
    for variant, rows in rows_by_variant(tables).items():
        lines.append(_row((variant, *(_cell(row) for row in rows))))
    lines += ["", caption(tables), ""]
    lines += [f"- **{one.condition}**: {one.table.headline}" for one in tables]
    lines += _beside_published(tables)
    return "\n".join(lines) + "\n"


def summary_latex(tables: tuple[AtCondition, ...]) -> str:
    """A tabular for a paper; it needs booktabs."""
    headings = ("variant", *(str(one.condition) for one in tables))
    rows = [(name, *(_cell(row) for row in of)) for name, of in rows_by_variant(tables).items()]
    return tabular(caption(tables), "l" + "r" * len(tables), headings, rows)


def caption(tables: tuple[AtCondition, ...]) -> str:
    """What the table shows."""
    table = tables[0].table
    stops = any(row.verdict in DAGGER for one in tables for row in one.table.rows)
    dagger = " † stopped early: fewer runs, no verdict." if stops else ""
    return (
        f"Mean ± standard error over {_runs(tables)}, {table.metric}, percent; then the parameters. "
        f"* differs from the baseline {table.baseline} on new videos like these (Holm within a condition, "
        f"level {100 * table.look.nominal:.2g} %); {table.videos} test videos in {table.groups} groups."
        + dagger
    )


def _runs(tables: tuple[AtCondition, ...]) -> str:
    """Over how many: 30 runs, or 10 to 13 of 30 runs where some are not there (yet)."""
    seeds = tables[0].table.seeds
    counts = {row.runs for one in tables for row in one.table.rows if row.runs > 1}
    if counts <= {seeds}:
        return f"{seeds} runs"
    least, most = min(counts), max(counts)
    return f"{least} of {seeds} runs" if least == most else f"{least} to {most} of {seeds} runs"


def _cell(row: Row | None) -> str:
    if row is None or not row.runs:
        return "-"
    error = "" if math.isnan(row.standard_error) else f" ± {points(row.standard_error)}"
    size = "" if row.parameters is None else f" ({row.parameters:,})"
    return f"{points(row.mean)}{error}{(STAR | DAGGER).get(row.verdict, '')}{size}"


def _beside_published(tables: tuple[AtCondition, ...]) -> list[str]:
    found = [(one, row) for one in tables for row in one.table.rows if row.published and row.runs]
    return ["", "Published, and ours:", ""] * bool(found) + [
        f"- {one.condition}, {row.variant}: {published_words(row)}" for one, row in found
    ]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
