"""HMDB51's official lists: CLASS_test_splitN.txt for every class, beside a folder of videos."""

import re
from pathlib import Path

from timelift.data.text import lines_of
from timelift.data.tree import walk
from timelift.records.errors import DataError
from timelift.records.video import Video

_SIDES = {"0": None, "1": "train", "2": "test"}  # 0: in neither of this list's two
_ONE_LIST = "*_test_split[1-3].txt"
_TAGS = re.compile(r"_[a-z]_(?:nm|cm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+$")


def is_hmdb(folder: Path) -> bool:
    """Whether HMDB51's lists lie in the folder."""
    return folder.is_dir() and any(folder.glob(_ONE_LIST))


def find_hmdb_lists(source: Path) -> tuple[Path, Path] | None:
    """Folders of lists and of videos, if HMDB51's lists lie in this folder, in one of its, or beside it."""
    if is_hmdb(source):
        return source, _videos_near(source, source.parent)
    inside = sorted({path.parent for path in source.glob(f"*/{_ONE_LIST}")})
    if inside:
        return inside[0], _videos_near(inside[0], source)
    for lists in sorted({path.parent for path in source.parent.glob(f"*/{_ONE_LIST}")}):
        if any((source / name).is_dir() for name in _class_names(lists)):
            return lists, source
    return None


def read_hmdb_lists(lists: Path, videos: Path, official_list: int) -> tuple[list[Video], list[Path]]:
    """The videos of one official list, paths relative to `videos`, and the files that it leaves out.

    Videos lie in CLASS/NAME.avi; a file of another suffix with the same stem is meant too. The group is the
    class with the film that a clip was cut from, as its name tells: no official list parts such a group.

    Raises:
        DataError: naming file and line, for an entry without a video or a number that is not 0, 1 or 2.
    """
    files = sorted(lists.glob(f"*_test_split{official_list}.txt"))
    if not files:
        raise DataError(f"there is no official list {lists}/CLASS_test_split{official_list}.txt")
    tree = walk(videos)
    places = {(path.parent.name, path.stem): path for path in tree.videos}
    found: list[Video] = []
    used: set[Path] = set()
    for file in files:
        label = file.stem.removesuffix(f"_test_split{official_list}")
        for number, line in enumerate(lines_of(file), start=1):
            if line.strip():
                where = f"{file}, line {number}"
                name, side = _entry(line, where)
                path = places.get((label, Path(name).stem)) if side else None
                if side and path is None:
                    raise DataError(f"{where}: there is no video {label}/{name} in {videos}")
                if side and path is not None:
                    used.add(path)
                    group = f"{label}/{film_of(Path(name).stem, label)}"
                    place = path.relative_to(videos).as_posix()
                    found.append(Video(path=place, label=label, split=side, group=group))
    return found, tree.ignored + [path for path in tree.videos if path not in used]


def film_of(stem: str, label: str) -> str:
    """April_09_brush_hair_u_nm_np1_ba_goo_0 of class brush_hair was cut from April_09."""
    return _TAGS.sub("", stem).removesuffix(f"_{label}")


def _entry(line: str, where: str) -> tuple[str, str | None]:
    match line.rsplit(maxsplit=1):
        case [name, number] if number in _SIDES:
            return name.strip(), _SIDES[number]
    raise DataError(f"{where}: {line.strip()!r}; wanted `name.avi` and 0, 1 or 2")


def _class_names(lists: Path) -> set[str]:
    return {path.name.rsplit("_test_split", 1)[0] for path in lists.glob(_ONE_LIST)}


def _videos_near(lists: Path, folder: Path) -> Path:
    """The folder, or the one in it, that holds folders named as the classes."""
    names = _class_names(lists)
    near = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path != lists)]
    return next((one for one in near if any((one / name).is_dir() for name in names)), folder)
