"""What is a video in a folder: a file with a video's suffix, a folder of nothing but pictures, or of flow."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from timelift.data.tar_member import members

VIDEO_SUFFIXES = frozenset(
    (".avi", ".mp4", ".mkv", ".webm", ".mov", ".gif", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".3gp", ".ts")
)
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
FLOW_FACTS = "flow.json"  # beside the pictures of one video's optical flow
FLOW_SETTINGS = "flow_settings.json"  # at the root of a data set of flow


@dataclass
class Walk:
    """What lies below a folder: videos in natural order, and every entry that is none."""

    videos: list[Path] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts frame_2 before frame_10."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(p), "") if p.isascii() and p.isdigit() else (1, 0, p) for p in parts if p]


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order."""
    return sorted(folder.iterdir(), key=lambda path: natural_key(path.name))


def hidden(path: Path) -> bool:
    """Whether an entry's name starts with a dot."""
    return path.name.startswith(".")


def is_video_file(path: Path) -> bool:
    """Whether the name ends as a video's does; a link to nothing counts, so that the scan can report it."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not hidden(path) and not path.is_dir()


def is_picture(path: Path) -> bool:
    """Whether this is a picture that can be a frame of a video."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden(path) and not path.is_dir()


def is_frame_folder(folder: Path) -> bool:
    """Whether a folder is one video: pictures, hidden files, and nothing else."""
    if not folder.is_dir():
        return False
    seen = [path for path in folder.iterdir() if not hidden(path)]
    return bool(seen) and all(is_picture(path) for path in seen)


def is_flow_folder(folder: Path) -> bool:
    """Whether a folder is the optical flow of one video, as `timelift flow` writes it."""
    return (folder / FLOW_FACTS).is_file()


def videos_at(path: Path) -> list[Path]:
    """A video itself, or every video below a folder or in a tar archive, those in archives last."""
    if path.is_dir() and not is_frame_folder(path) and not is_flow_folder(path):
        tree = walk(path)
        return [*tree.videos, *(video for file in tree.ignored for video in _packed(file))]
    return _packed(path) or [path]


def _packed(path: Path) -> list[Path]:
    """The videos in a tar archive; none for any other path."""
    if path.suffix != ".tar" or not path.is_file():
        return []
    return [path / name for name in members(path) if Path(name).suffix.lower() in VIDEO_SUFFIXES]


def pictures(folder: Path) -> list[Path]:
    """The frames of a folder of frames, in natural order."""
    return [path for path in entries(folder) if is_picture(path)]


def walk(folder: Path) -> Walk:
    """Every video at or below a folder; links are followed, but never back into a folder above."""
    found = Walk()
    _walk_into(folder, found, above=frozenset({folder.resolve()}))
    return found


def _walk_into(folder: Path, found: Walk, above: frozenset[Path]) -> None:
    for path in entries(folder):
        if hidden(path):
            found.ignored.append(path)
        elif is_video_file(path) or is_frame_folder(path) or is_flow_folder(path):
            found.videos.append(path)
        elif path.is_dir() and path.resolve() not in above:
            _walk_into(path, found, above | {path.resolve()})
        else:
            found.ignored.append(path)
