"""Rows of a CSV with a header, each with its place, so that whatever is wrong can be named."""

import csv
from dataclasses import dataclass
from pathlib import Path

from timelift.data.text import lines_of
from timelift.records.errors import DataError

SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Row:
    """The values of a line by column, and the file and line for an error."""

    values: dict[str, str]
    where: str

    def value(self, column: str) -> str:
        """The value without spaces around it; empty if the table has no such column."""
        return self.values.get(column, "").strip()

    def __str__(self) -> str:
        """What the line held, for an error."""
        return repr(",".join(self.values.values()))


def named_rows(path: Path) -> tuple[list[str], list[Row]]:
    """The header, and every row; values are parted by commas, or by semicolons as Excel does in places.

    Raises:
        DataError: naming file and line, for a row of another length.
    """
    lines = lines_of(path)
    rows = csv.reader(lines, delimiter=_delimiter(lines))
    header = [name.strip() for name in next(rows, [])]
    return header, [Row(_fitted(header, row, _where(path, rows)), _where(path, rows)) for row in rows if row]


def split_of(row: Row) -> str:
    """train, val, test or "", from the column split.

    Raises:
        DataError: for any other word.
    """
    word = row.value("split")
    if word.lower() not in SPLIT_NAMES:
        raise DataError(f"{row.where}: split {word!r} is none of train, val, test")
    return SPLIT_NAMES[word.lower()]


def seconds_of(row: Row, column: str) -> float:
    """A number of seconds, 0 if the column is empty or not there.

    Raises:
        DataError: for what is no number of 0 or more.
    """
    text = row.value(column) or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise DataError(f"{row.where}: {column} {text!r}; seconds are wanted, 0 or more")
    return seconds


def _where(path: Path, rows) -> str:
    return f"{path}, line {rows.line_num}"


def _fitted(header: list[str], row: list[str], where: str) -> dict[str, str]:
    if len(row) != len(header):
        raise DataError(
            f"{where}: as many values as the header has columns are wanted, got {','.join(row)!r}"
        )
    return dict(zip(header, row, strict=True))


def _delimiter(lines: list[str]) -> str:
    header = lines[0] if lines else ""
    return ";" if ";" in header and "," not in header else ","
