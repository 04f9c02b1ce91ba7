"""Tables for a paper: LaTeX that needs booktabs."""

import math
from collections.abc import Sequence

from timelift.comparison.table import Row, StudyTable
from timelift.comparison.wording import interval_text, p_text, points

_LETTERS = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "†": "$\\dagger$",
    "<": "$<$",
    ">": "$>$",
    "@": "{@}",
}


def to_latex(table: StudyTable) -> str:
    """A tabular of one condition: means, differences from the baseline, intervals on new videos, verdicts."""
    headings = (
        "variant",
        "accuracy, %",
        "difference",
        "interval, new videos",
        "p (Holm)",
        "verdict",
        "parameters",
    )
    comment = (
        f"{table.name}: mean ± standard error over runs, {table.metric}; differences from {table.baseline} "
        f"and intervals in points; {table.videos} test videos in {table.groups} groups"
    )
    return tabular(comment, "lrrrrlr", headings, [_cells(row) for row in table.rows])


def tabular(comment: str, columns: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The cells as they are, with LaTeX's own letters escaped; columns: "lrr"."""
    return "\n".join(
        [
            f"% {comment}",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            _line(headings),
            "\\midrule",
            *map(_line, rows),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """The text as LaTeX shows it: "50 % of a_b" -> "50 \\% of a\\_b"."""
    return "".join(_LETTERS.get(letter, letter) for letter in text)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + " \\\\"


def _cells(row: Row) -> tuple[str, ...]:
    mean = "-" if math.isnan(row.mean) else points(row.mean)
    error = "" if math.isnan(row.standard_error) else f" ± {points(row.standard_error)}"
    size = "-" if row.parameters is None else f"{row.parameters:,}"
    result = row.difference
    if result is None:
        return row.variant, mean + error, "", "", "", "baseline" if row.is_baseline else "", size
    p = p_text(result.p_adjusted).removeprefix("p ").removeprefix("= ")
    between = interval_text(result.interval)
    return row.variant, mean + error, points(result.mean), between, p, row.verdict, size
