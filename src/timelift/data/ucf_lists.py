"""UCF101's official lists: classInd.txt, trainlist0N.txt and testlist0N.txt beside a folder of videos."""

from pathlib import Path

from timelift.data.text import lines_of
from timelift.data.tree import Walk, walk
from timelift.records.errors import DataError
from timelift.records.video import Video

CLASS_LIST = "classInd.txt"
_VIDEO_FOLDERS = ("videos", "UCF-101", "UCF101")


def find_lists(source: Path) -> tuple[Path, Path] | None:
    """Folders of lists and of videos, if UCF101's lists lie in this folder, in one of its, or beside it."""
    if (source / CLASS_LIST).is_file():
        return source, _videos_near(source) or _videos_near(source.parent) or source
    for lists in sorted(path.parent for path in source.glob(f"*/{CLASS_LIST}")):
        return lists, _videos_near(source) or source
    for lists in sorted(path.parent for path in source.parent.glob(f"*/{CLASS_LIST}")):
        if any((source / name).is_dir() for name in _class_names(lists)):
            return lists, source
    return None


def read_ucf_lists(lists: Path, videos: Path, official_list: int) -> tuple[list[Video], list[Path]]:
    """The videos of one official list, paths relative to `videos`, and the files that it leaves out.

    Entries end in .avi; a file of another suffix with the same stem is meant too.

    Raises:
        DataError: naming file and line, for an entry without a video or with a class that classInd.txt lacks.
    """
    names = set(_class_names(lists))
    tree = walk(videos)
    found: list[Video] = []
    for split in ("train", "test"):
        found += _read_one(lists / f"{split}list{official_list:02d}.txt", split, videos, tree, names)
    listed = {video.path for video in found}
    unlisted = [path for path in tree.videos if path.relative_to(videos).as_posix() not in listed]
    return found, tree.ignored + unlisted


def _read_one(path: Path, split: str, root: Path, tree: Walk, names: set[str]) -> list[Video]:
    if not path.is_file():
        there = ", ".join(p.name for p in sorted(path.parent.glob(f"{split}list*.txt"))) or "none"
        raise DataError(f"there is no official list {path}; lists found: {there}")
    by_place = {p.relative_to(root).with_suffix("").as_posix(): p for p in tree.videos}
    by_stem = {p.stem: p for p in tree.videos}
    videos = []
    for number, line in enumerate(lines_of(path), start=1):
        entry = line.strip()
        if not entry:
            continue
        where = f"{path}, line {number}"
        place = _place(entry, where)
        if place.parent.name not in names:
            raise DataError(f"{where}: {entry!r} is of no class in {path.parent / CLASS_LIST}")
        file = by_place.get(place.as_posix()) or by_stem.get(place.name)
        if file is None:
            raise DataError(f"{where}: there is no video for {entry!r} in {root}")
        videos.append(Video(path=file.relative_to(root).as_posix(), label=place.parent.name, split=split))
    return videos


def _place(entry: str, where: str) -> Path:
    """Class/name without suffix, from `Class/name.avi` or `Class/name.avi 3`."""
    words = entry.rsplit(maxsplit=1)
    place = Path(words[0] if len(words) == 2 and words[1].isdigit() else entry)
    if place.parent.name == "" or place.suffix == "":
        raise DataError(f"{where}: {entry!r}; wanted `Class/name.avi` or `Class/name.avi number`")
    return place.with_suffix("")


def _class_names(lists: Path) -> list[str]:
    """The names of classInd.txt, whose lines are `number name`."""
    names = []
    for number, line in enumerate(lines_of(lists / CLASS_LIST), start=1):
        match line.split(maxsplit=1):
            case []:
                continue
            case [index, name] if index.isdigit():
                names.append(name.strip())
            case _:
                raise DataError(f"{lists / CLASS_LIST}, line {number}: {line!r}; wanted `number name`")
    return names


def _videos_near(folder: Path) -> Path | None:
    return next((folder / name for name in _VIDEO_FOLDERS if (folder / name).is_dir()), None)
