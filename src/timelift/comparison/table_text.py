"""The table of a study as CSV (fractions) and as Markdown (percent and points)."""

import csv
import io
import math

from timelift.comparison.paired import PairedDifference
from timelift.comparison.table import Row, StudyTable
from timelift.comparison.wording import interval_text, p_text, percent, points

COLUMNS = (
    "variant", "role", "runs", "mean", "standard_error", "parameters", "started_from", "difference", "pairs",
    "seeds_lower", "seeds_upper", "lower", "upper", "level", "p", "p_adjusted", "p_seeds", "p_t",
    "p_sign_flip", "p_sign_flip_floor", "effect_size", "smallest_detectable", "equivalent", "verdict",
    "sentence",
)  # fmt: skip


def to_csv(table: StudyTable) -> str:
    """One line a row; accuracies, differences and intervals as fractions, unknown numbers empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.rows:
        values = values_of(row)
        writer.writerow([plain(values.get(column, "")) for column in COLUMNS])
    return text.getvalue()


def values_of(row: Row) -> dict[str, object]:
    """A row's values by column; a column that does not apply is missing."""
    return _row_values(row) | (_difference_values(row.difference) if row.difference else {})


def _row_values(row: Row) -> dict[str, object]:
    return {
        "variant": row.variant,
        "role": "baseline" if row.is_baseline else "linear probe" if row.is_probe else "variant",
        "runs": row.runs,
        "mean": row.mean,
        "standard_error": row.standard_error,
        "parameters": row.parameters if row.parameters is not None else "",
        "started_from": row.started_from,
        "verdict": row.verdict,
        "sentence": row.sentence,
    }


def _difference_values(result: PairedDifference) -> dict[str, object]:
    return {
        "difference": result.mean,
        "pairs": result.runs,
        "seeds_lower": result.interval_seeds[0],
        "seeds_upper": result.interval_seeds[1],
        "lower": result.interval[0],
        "upper": result.interval[1],
        "level": result.level,
        "p": result.p,
        "p_adjusted": result.p_adjusted,
        "p_seeds": result.p_seeds,
        "p_t": result.p_t,
        "p_sign_flip": result.p_sign_flip,
        "p_sign_flip_floor": result.p_sign_flip_floor,
        "effect_size": result.effect_size,
        "smallest_detectable": result.smallest_detectable,
        "equivalent": result.equivalent,
    }


def plain(value: object) -> object:
    """The value as a CSV holds it: a number that is none is empty."""
    return "" if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(table: StudyTable) -> str:
    """Headline, table, one sentence a variant, notes and failed runs."""
    headings = (
        "variant", f"{table.metric}, %", "runs", "difference, points",
        "interval: these videos, trained again", "interval: new videos, trained again",
        "p (Holm)", "verdict", "parameters", "started from",
    )  # fmt: skip
    lines = [f"# {table.name}", "", table.headline, "", _line(headings), "|" + "---|" * len(headings)]
    lines += [_line(_cells(row)) for row in table.rows]
    lines += ["", _caption(table)]
    lines += ["", *(f"- {row.sentence}" for row in table.rows if row.sentence)]
    if table.notes:
        lines += ["", "Notes:", "", *(f"- {note}" for note in table.notes)]
    if table.failed:
        lines += ["", "Failed runs:", ""]
        lines += [
            f"- {c.variant}, seed {c.seed}: {(c.error.strip().splitlines() or ['?'])[-1]}"
            for c in table.failed
        ]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    mean = "" if math.isnan(row.mean) else points(row.mean)
    error = "" if math.isnan(row.standard_error) else f" ± {points(row.standard_error)}"
    name = f"{row.variant} (baseline)" if row.is_baseline else row.variant
    size = f"{row.parameters:,}" if row.parameters is not None else ""
    about = (row.verdict, size, row.started_from)
    result = row.difference
    if result is None:
        return name, mean + error, str(row.runs), "", "", "", "", *about
    p = p_text(result.p_adjusted).removeprefix("p ").removeprefix("= ")
    intervals = (interval_text(result.interval_seeds), interval_text(result.interval))
    return name, mean + error, str(row.runs), points(result.mean), *intervals, p, *about


def _caption(table: StudyTable) -> str:
    levels = sorted({percent(row.difference.level) for row in table.rows if row.difference})
    return (
        f"Mean ± standard error over runs; differences from the baseline {table.baseline}; "
        f"{' and '.join(levels) or 'no'} intervals; {table.videos} test videos in {table.groups} groups; "
        f"equivalent means within {points(table.margin)} points."
    )


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
