"""Labelled videos from text: a CSV with a header, or a list of lines `path label`."""

import re
import unicodedata
from pathlib import Path

from timelift.data.table_rows import SPLIT_NAMES, Row, named_rows, seconds_of, split_of
from timelift.data.tar_member import exists
from timelift.data.text import lines_of
from timelift.data.tree import VIDEO_SUFFIXES
from timelift.records.errors import DataError
from timelift.records.video import Video

_SPLIT_WORD = re.compile(
    r"(?:^|[^a-z])(train|training|val|valid|validation|test|testing)(?:list|set|split|videos)?(?:[^a-z]|$)"
)


def read_csv(path: Path, group_column: str = "group") -> list[Video]:
    """The rows of a CSV with the header `path,label[,split,group,start,end]`; paths relative to its folder.

    start and end are seconds of a long video, which may stand in several rows.

    Raises:
        DataError: naming file and line, for a missing column, an empty value, an unknown split, an end that
            is not behind the start, or a file that does not exist.
    """
    header, rows = named_rows(path)
    paths = next((name for name in ("path", "file_name") if name in header), "path")
    wanted = [paths, "label", *([] if group_column == "group" else [group_column])]
    missing = [column for column in wanted if column not in header]
    if missing:
        raise DataError(
            f"{path}, line 1: column {' and '.join(missing)} missing; "
            f"the header is {','.join(header)!r}, wanted path,label[,split,group,start,end]"
        )
    return [_video(row, path.parent, paths, group_column) for row in rows]


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
        if exists(root / form):
            return form
    raise DataError(f"{where}: there is no {name!r} in {root}; paths are relative to that folder")


def _video(row: Row, root: Path, path_column: str, group_column: str) -> Video:
    name, label = row.value(path_column), row.value("label")
    if not name or not label:
        raise DataError(f"{row.where}: {'label' if name else 'path'} is empty in {row}")
    start, end = seconds_of(row, "start"), seconds_of(row, "end")
    if end and end <= start:
        raise DataError(f"{row.where}: end {end:g} is not behind start {start:g}")
    return Video(
        path=existing(root, name, row.where),
        label=label,
        split=split_of(row),
        group=row.value(group_column),
        start=start,
        end=end,
    )
