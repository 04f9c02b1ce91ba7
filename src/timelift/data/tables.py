"""Labelled videos from text: a CSV with a header, or a list of lines `path label`."""

import csv
import re
import unicodedata
from pathlib import Path

from timelift.data.tree import VIDEO_SUFFIXES
from timelift.records.errors import DataError
from timelift.records.video import Video

SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_SPLIT_WORD = re.compile(
    r"(?:^|[^a-z])(train|training|val|valid|validation|test|testing)(?:list|set|split|videos)?(?:[^a-z]|$)"
)


def read_csv(path: Path) -> list[Video]:
    """The rows of a CSV with the header `path,label[,split,group]`; paths are relative to its folder.

    Raises:
        DataError: naming file and line, for a missing column, an empty value, an unknown split or a file
            that does not exist.
    """
    lines = lines_of(path)
    rows = csv.DictReader(lines, delimiter=_delimiter(lines))
    names = [(name or "").strip() for name in rows.fieldnames or []]
    rows.fieldnames = ["path" if name == "file_name" else name for name in names]
    missing = [column for column in ("path", "label") if column not in rows.fieldnames]
    if missing:
        raise DataError(
            f"{path}, line 1: column {' and '.join(missing)} missing; "
            f"the header is {','.join(names)!r}, wanted path,label[,split,group]"
        )
    return [_row(row, path, rows.line_num) for row in rows]


def read_list(path: Path, root: Path) -> list[Video]:
    """The lines `path label` of a list, paths relative to `root`; the part (train ...) is in the list's name.

    Raises:
        DataError: naming file and line, for a line without a label or a file that does not exist.
    """
    split = split_in_name(path.stem)
    videos = []
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        match line.strip().rsplit(maxsplit=1):
            case [name, label] if Path(label).suffix.lower() not in VIDEO_SUFFIXES:
                videos.append(Video(path=existing(root, name, where), label=label, split=split))
            case _:
                raise DataError(f"{where}: {line.strip()!r} has no label; wanted `path label`")
    return videos


def split_in_name(stem: str) -> str:
    """The part of the data that a list's name tells: trainlist01 is "train", constraints is ""."""
    found = _SPLIT_WORD.search(stem.lower())
    return SPLIT_NAMES[found[1]] if found else ""


def existing(root: Path, name: str, where: str) -> str:
    """The name as the file system spells it (an umlaut can be written in two ways).

    Raises:
        DataError: if there is no such file or folder.
    """
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        if (root / form).exists():
            return form
    raise DataError(f"{where}: there is no {name!r} in {root}; paths are relative to that folder")


def lines_of(path: Path) -> list[str]:
    """The lines of a UTF-8 text, with or without a byte-order mark.

    Raises:
        DataError: if the file does not exist or is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8 text") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _delimiter(lines: list[str]) -> str:
    header = lines[0] if lines else ""
    return ";" if ";" in header and "," not in header else ","


def _row(row: dict[str, str], path: Path, line: int) -> Video:
    where = f"{path}, line {line}"
    if None in row or None in row.values():
        raise DataError(f"{where}: as many values as the header has columns are wanted, got {_values(row)}")
    name, label, split = row["path"].strip(), row["label"].strip(), row.get("split", "").strip()
    if not name or not label:
        raise DataError(f"{where}: {'path' if not name else 'label'} is empty in {_values(row)}")
    if split.lower() not in SPLIT_NAMES:
        raise DataError(f"{where}: split {split!r} is none of train, val, test")
    return Video(
        path=existing(path.parent, name, where),
        label=label,
        split=SPLIT_NAMES[split.lower()],
        group=row.get("group", "").strip(),
    )


def _values(row: dict) -> str:
    """What the line held, for an error (csv puts values beyond the header under the key None)."""
    values = [value for key, value in row.items() if key is not None and value is not None]
    return repr(",".join([*values, *row.get(None, [])]))
