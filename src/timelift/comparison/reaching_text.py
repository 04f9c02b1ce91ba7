"""Steps and seconds to the target in words, as CSV columns and as Markdown."""

import math
from collections.abc import Sequence

from timelift.comparison.reaching import UNITS, Reaching, TimeOutcome
from timelift.comparison.wording import amount, p_text, percent, points

_OF_UNIT = ("median", "difference", "lower", "upper", "level", "p", "p_adjusted", "p_sign", "verdict")
COLUMNS = ("target", "reached", *(f"{unit}_{column}" for unit in UNITS for column in _OF_UNIT))
NOTE = (
    "A time is that of the first validation at or above the target, so it is as exact as validations are "
    "frequent. Intervals are over seeds, on exactly these validation videos, and say nothing of other ones. "
    "Seconds are those of the clock, validations included: runs may have shared the machine with each other."
)


def what_it_is(outcome: TimeOutcome) -> str:
    """The target, where it comes from, and how often runs were judged; or why there is none."""
    if outcome.missing:
        return f"{outcome.missing} So there is no time to an accuracy."
    fewest, most = outcome.check_steps
    every = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return (
        f"The target is {points(outcome.target)} % right on the validation videos: {100 * outcome.share:g} % "
        f"of the mean that {outcome.best}, the best at the end, has then. Judged every {every} steps."
    )


def time_headline(outcome: TimeOutcome) -> str:
    """One line for both units: who is sooner, who is later, who is neither."""
    if outcome.missing:
        return what_it_is(outcome)
    told = [f"In {unit}: {_who(outcome.of(unit))}" for unit in UNITS]
    start = f"To {points(outcome.target)} % validation accuracy ({100 * outcome.share:g} % of the best mean)."
    return " ".join((start, *told))


def _who(rows: Sequence[Reaching]) -> str:
    found = {
        row.verdict: [r.variant for r in rows if r.verdict == row.verdict] for row in rows if row.verdict
    }
    words = {"inconclusive": "undecided"}
    return "; ".join(f"{words.get(verdict, verdict)}: {', '.join(of)}" for verdict, of in found.items()) + "."


def time_values(outcome: TimeOutcome | None, variant: str) -> dict[str, object]:
    """One variant's values by column; a column that does not apply is missing."""
    rows = [] if outcome is None else [row for row in outcome.rows if row.variant == variant]
    values: dict[str, object] = {}
    for row in rows:
        assert outcome is not None
        values |= {"target": outcome.target, "reached": row.reached}
        values |= {f"{row.unit}_{column}": value for column, value in _values(row).items()}
    return values


def _values(row: Reaching) -> dict[str, object]:
    values: dict[str, object] = {"median": row.median, "verdict": row.verdict}
    if (found := row.difference) is not None:
        values |= {
            "difference": found.restricted_mean,
            "lower": found.interval[0],
            "upper": found.interval[1],
            "level": found.level,
            "p": found.p,
            "p_adjusted": found.p_adjusted,
            "p_sign": found.p_sign,
        }
    return values


def time_lines(outcome: TimeOutcome) -> list[str]:
    """A heading, what the target is, a table and a sentence a comparison, in Markdown."""
    lines = ["## Steps and seconds to an accuracy", "", what_it_is(outcome)]
    if outcome.missing:
        return lines
    headings = ("variant", "unit", "reached", "median", "difference", "interval", "p (Holm)", "verdict")
    lines += ["", _line(headings), "|" + "---|" * len(headings)]
    lines += [_line(_cells(row)) for row in outcome.rows]
    lines += ["", NOTE, "", *(f"- In {row.unit}: {row.sentence}" for row in outcome.rows if row.sentence)]
    return lines


def _cells(row: Reaching) -> tuple[str, ...]:
    start = (row.variant, row.unit, f"{row.reached} of {row.runs}", median_text(row.median))
    if (found := row.difference) is None:
        return (*start, "", "", "", row.verdict)
    p = p_text(found.p_adjusted).removeprefix("p ").removeprefix("= ")
    between = f"{time_interval_text(found.interval)} ({percent(found.level)})"
    return (*start, amount(found.restricted_mean), between, p, row.verdict)


def median_text(median: float) -> str:
    """312.4 -> "312"; "not reached" where half of the runs did not get there."""
    return amount(median) if math.isfinite(median) else "not reached"


def time_interval_text(interval: tuple[float, float]) -> str:
    """(-120.0, 3.25) -> "-120 to 3.25"."""
    if not any(map(math.isfinite, interval)):
        return "unbounded"
    return f"{amount(interval[0])} to {amount(interval[1])}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
