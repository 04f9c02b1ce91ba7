"""The table of a study as CSV (fractions) and as Markdown (percent and points)."""

import csv
import io
import math

from timelift.comparison.beside import beside
from timelift.comparison.paired import PairedDifference
from timelift.comparison.reaching import TimeOutcome
from timelift.comparison.reaching_text import COLUMNS as TIME_COLUMNS
from timelift.comparison.reaching_text import time_lines, time_values
from timelift.comparison.table import Row, StudyTable
from timelift.comparison.wording import interval_text, p_text, percent, points

COLUMNS = (
    "variant", "role", "runs", "seeds", "mean", "standard_error", "mean_lower", "mean_upper", "parameters",
    "multiply_adds", "latency", "latency_lower_quartile", "latency_upper_quartile", "started_from",
    "published_mean", "published_standard_error", "as_published", "difference", "pairs",
    "seeds_lower", "seeds_upper", "lower", "upper", "level", "p", "p_adjusted", "p_seeds", "p_t",
    "p_sign_flip", "p_sign_flip_floor", "effect_size", "smallest_detectable", "equivalent", "verdict",
    "sentence", "bca_lower", "bca_upper", "bootstrap_t_lower", "bootstrap_t_upper", "runs_to_settle",
    *TIME_COLUMNS,
)  # fmt: skip


def to_csv(table: StudyTable) -> str:
    """One line a row; accuracies, differences and intervals as fractions, unknown numbers empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.rows:
        values = values_of(row, table.times)
        writer.writerow([plain(values.get(column, "")) for column in COLUMNS])
    return text.getvalue()


def values_of(row: Row, times: TimeOutcome | None = None) -> dict[str, object]:
    """A row's values by column; a column that does not apply is missing."""
    values = _row_values(row) | (_difference_values(row.difference) if row.difference else {})
    return values | time_values(times, row.variant)


def _row_values(row: Row) -> dict[str, object]:
    return {
        "variant": row.variant,
        "role": "baseline" if row.is_baseline else "linear probe" if row.is_probe else "variant",
        "runs": row.runs,
        "seeds": " ".join(map(str, row.seeds)),
        "mean": row.mean,
        "standard_error": row.standard_error,
        "mean_lower": row.mean_interval[0],
        "mean_upper": row.mean_interval[1],
        "parameters": "" if row.parameters is None else row.parameters,
        "multiply_adds": "" if row.multiply_adds is None else row.multiply_adds,
        **_latency_values(row),
        **_published_values(row),
        "started_from": row.started_from,
        "verdict": row.verdict,
        "sentence": row.sentence,
    }


def _latency_values(row: Row) -> dict[str, object]:
    """In seconds; the median and the quartiles over runs."""
    if row.latency is None:
        return {}
    low, median, high = row.latency
    return {"latency": median, "latency_lower_quartile": low, "latency_upper_quartile": high}


def _published_values(row: Row) -> dict[str, object]:
    if row.published is None:
        return {}
    error = row.published.standard_error
    within = row.is_as_published
    return {
        "published_mean": row.published.mean,
        "published_standard_error": "" if error is None else error,
        "as_published": "" if within is None else within,
    }


def _difference_values(result: PairedDifference) -> dict[str, object]:
    also = beside(result)
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
        "bca_lower": also.bca[0],
        "bca_upper": also.bca[1],
        "bootstrap_t_lower": also.bootstrap_t[0],
        "bootstrap_t_upper": also.bootstrap_t[1],
        "runs_to_settle": result.runs_to_settle if result.runs_to_settle is not None else "",
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
    if any(row.published and row.runs for row in table.rows):
        lines += ["", "Published, and ours:", ""]
        lines += [
            f"- {row.variant}: {published_words(row)}" for row in table.rows if row.published and row.runs
        ]
    if table.times is not None:
        lines += ["", *time_lines(table.times)]
    if table.notes:
        lines += ["", "Notes:", "", *(f"- {note}" for note in table.notes)]
    if table.failed:
        lines += ["", "Failed runs:", ""]
        lines += [
            f"- {c.variant}, seed {c.seed}: {(c.error.strip().splitlines() or ['?'])[-1]}"
            for c in table.failed
        ]
    return "\n".join(lines) + "\n"


def published_words(row: Row) -> str:
    """A published mean by ours: "46.8 ± 1.1 published, 45.2 ours (95 % interval 43.0 to 47.4): within"."""
    figure = row.published
    assert figure is not None
    error = "" if figure.standard_error is None else f" ± {points(figure.standard_error)}"
    text = f"{points(figure.mean)}{error} published, {points(row.mean)} ours"
    if row.is_as_published is None:
        return text
    where = "within" if row.is_as_published else "above" if figure.mean > row.mean else "below"
    return f"{text} (95 % interval {interval_text(row.mean_interval)}): {where}"


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
