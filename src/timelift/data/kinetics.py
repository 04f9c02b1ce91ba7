"""Kinetics' CSV (label, youtube_id, time_start, time_end, split) with videos as downloaded beside it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from timelift.data.table_rows import Row, named_rows, seconds_of, split_of
from timelift.data.tree import walk
from timelift.records.errors import DataError
from timelift.records.video import Video

WANTED = ("label", "youtube_id", "time_start", "time_end")
_CUT = "{name}_{start:06d}_{end:06d}"  # as the usual scripts name a clip that they cut out


def is_kinetics(header: Sequence[str]) -> bool:
    """Whether a table has Kinetics' columns; without labels, too, so that their lack can be said."""
    return set(WANTED) - {"label"} <= set(header)


def read_kinetics(path: Path) -> tuple[list[Video], list[Path]]:
    """The entries of the CSV, and the files below its folder that no entry names.

    A file `ID_000010_000020.*` anywhere below the folder is the clip itself; a file `ID.*` is the long video,
    of which the entry is the part from time_start to time_end. An entry without a file stays, to be found
    unreadable by the scan: what a download lacks is decided and reported as other bad videos are. Entries of
    one YouTube video are one group.

    Raises:
        DataError: naming file and line, for a missing column or value.
    """
    header, rows = named_rows(path)
    missing = [column for column in WANTED if column not in header]
    if missing:
        raise DataError(f"{path}, line 1: column {' and '.join(missing)} missing: {','.join(header)!r} came")
    tree = walk(path.parent)
    by_stem = defaultdict(list)
    for file in tree.videos:
        by_stem[file.stem].append(file)
    videos = [_video(row, by_stem, path.parent) for row in rows]
    named = {video.path for video in videos}
    others = [file for file in tree.videos if file.relative_to(path.parent).as_posix() not in named]
    return videos, [file for file in (*tree.ignored, *others) if file != path]


def _video(row: Row, by_stem: dict[str, list[Path]], root: Path) -> Video:
    name, label = row.value("youtube_id"), row.value("label")
    start, end = seconds_of(row, "time_start"), seconds_of(row, "time_end")
    if not name or not label:
        raise DataError(f"{row.where}: {'label' if name else 'youtube_id'} is empty")
    cut = _CUT.format(name=name, start=round(start), end=round(end))
    whole = {"label": label, "split": split_of(row), "group": name}
    for stem, part in ((cut, {}), (name, {"start": start, "end": end})):
        if by_stem[stem]:
            place = _of_class(by_stem[stem], label).relative_to(root).as_posix()
            return Video(path=place, **whole, **part)  # type: ignore[arg-type]
    return Video(path=f"{cut}.mp4", **whole)  # type: ignore[arg-type]


def _of_class(files: list[Path], label: str) -> Path:
    """Of several files of one name the one in the class's folder, else the first."""
    folders = {label, label.replace(" ", "_")}
    return next((file for file in files if file.parent.name in folders), files[0])
