"""Labelled videos from folders: one folder a class, with or without train, val and test above."""

from pathlib import Path

from timelift.data.table_rows import SPLIT_NAMES
from timelift.data.tree import entries, hidden, is_frame_folder, is_video_file, walk
from timelift.records.errors import DataError
from timelift.records.video import Video


def split_folders(root: Path) -> list[Path]:
    """The folders train, val ... of a root, if they are parts of the data and not classes of those names."""
    named = [path for path in _class_folders(root) if path.name.lower() in SPLIT_NAMES]
    return named if any(_holds_classes(path) for path in named) else []


def read_split_folders(root: Path) -> tuple[list[Video], list[Path]]:
    """The videos of root/{train,val,test}/{class}/*, and every file that is none.

    Raises:
        DataError: for a class folder without a video, or a part without a class folder.
    """
    parts = split_folders(root)
    videos: list[Video] = []
    ignored = [path for path in entries(root) if path not in parts]
    for part in parts:
        if not _holds_classes(part):
            raise DataError(f"{part} has no class folders; wanted {part.name}/CLASS/video")
        found, others = read_class_folders(part, root, SPLIT_NAMES[part.name.lower()])
        videos += found
        ignored += others
    return videos, ignored


def read_class_folders(folder: Path, root: Path, split: str = "") -> tuple[list[Video], list[Path]]:
    """The videos of folder/{class}/*, paths relative to `root`, and every file that is none.

    Raises:
        DataError: for a class folder without a video.
    """
    classes = _class_folders(folder)
    ignored = [path for path in entries(folder) if path not in classes]
    videos: list[Video] = []
    for class_folder in classes:
        found = walk(class_folder)
        if not found.videos:
            raise DataError(_empty(class_folder))
        ignored += found.ignored
        for path in found.videos:
            videos.append(Video(path=path.relative_to(root).as_posix(), label=class_folder.name, split=split))
    return videos, ignored


def _class_folders(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.is_dir() and not hidden(path)]


def _holds_classes(folder: Path) -> bool:
    """Whether there are folders in it that are not frames of one video each, and no video beside them."""
    inside = [path for path in entries(folder) if not hidden(path)]
    classes = [path for path in inside if path.is_dir() and not is_frame_folder(path)]
    return bool(classes) and not any(is_video_file(path) for path in inside)


def _empty(folder: Path) -> str:
    if is_frame_folder(folder):
        return f"class folder {folder} holds pictures, but no video; wanted CLASS/VIDEO/frame.jpg"
    return f"class folder {folder} holds no video; remove it, or put its videos there"
