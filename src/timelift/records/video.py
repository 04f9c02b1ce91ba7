"""The manifest: one row a video, as `timelift scan` found it, read and written as CSV."""

import csv
import dataclasses
import gc
import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from timelift.records.errors import DataError, UsageError
from timelift.records.whole import write_text_whole

LEAKS_ALLOWED = "leaks were allowed"  # how the note begins that every report of such data has
Status = Literal["unscanned", "ok", "short", "damaged", "unreadable"]


@dataclass(frozen=True, slots=True)
class Video:
    """One labelled video, or a part of a long one; `path` is relative to the manifest's root, or absolute.

    status: ok; short (fewer frames decode than the container declares, without a decoder error);
    damaged (decoder errors, `frames` salvaged); unreadable (no frame); unscanned (not yet decoded).
    """

    path: str
    label: str
    split: str = ""  # "train", "val", "test", or "" when the source says nothing
    group: str = ""  # videos of one group never stand on both sides of a split
    status: Status = "unscanned"
    frames: int = 0  # decoded
    declared_frames: int = 0  # as the container says; 0 when it does not
    width: int = 0  # after rotation, pixels
    height: int = 0
    fps: float = 0.0
    rotation: int = 0  # degrees clockwise that were applied
    timestamps_increasing: bool = True
    sha256: str = ""
    reason: str = ""  # why the status is not ok
    start: float = 0.0  # seconds; of a part
    end: float = 0.0  # seconds; 0 is the video's own end
    first_frame: int = 0  # of a part, in the order in which the file decodes
    frame_hashes: str = ""  # perceptual, of the first, middle and last frame
    allowed_leak: str = ""  # what stands on another side of the split, too, and was allowed to

    @property
    def is_part(self) -> bool:
        """Whether the entry is only a part of its file."""
        return bool(self.start or self.end)

    @property
    def name(self) -> str:
        """What tells the entry from all others: its path, with seconds for a part (film.mp4#t=10,20)."""
        if not self.is_part:
            return self.path
        return f"{self.path}#t={self.start:.12g}" + (f",{self.end:.12g}" if self.end else "")


@dataclass(frozen=True)
class Manifest:
    """The videos of a data set, with the root of their paths and the class names (index = position).

    separator: stands between the classes of a video that shows several, as "|"; "" where each shows one.
    """

    root: str
    classes: tuple[str, ...]
    videos: tuple[Video, ...]
    separator: str = ""

    def full_path(self, video: Video) -> Path:
        """Where the video lies on this machine."""
        return Path(self.root) / video.path

    def label_index(self, video: Video) -> int:
        """The class index of a video, from 0.

        Raises:
            UsageError: where videos show several classes.
        """
        if self.separator:
            raise UsageError(f"{video.path} may show several classes ({video.label!r}); one is wanted here")
        return self.classes.index(video.label)

    def names_of(self, video: Video) -> tuple[str, ...]:
        """The classes that a video shows, each once."""
        if not self.separator:
            return (video.label,)
        parts = (part.strip() for part in video.label.split(self.separator))
        return tuple(dict.fromkeys(part for part in parts if part))

    def targets(self, video: Video) -> tuple[int, ...]:
        """The indices of the classes that a video shows."""
        return tuple(self.classes.index(name) for name in self.names_of(video))

    def separated(self, separator: str, *, any_label: bool = False) -> "Manifest":
        """The same videos with labels that hold several classes, as "run|jump" with "|".

        Raises:
            DataError: if no label holds the separator, or the classes are fewer than two; unless any_label.
        """
        several = dataclasses.replace(self, separator=separator)
        classes = tuple(sorted({name for video in self.videos for name in several.names_of(video)}))
        held = any(separator in video.label for video in self.videos) and len(classes) > 1
        if not held and not any_label:
            raise DataError(
                f"no label holds {separator!r}, which should stand between the classes of one video: "
                f"the first is {self.videos[0].label!r}"
            )
        return dataclasses.replace(several, classes=classes)

    def of_split(self, split: str) -> "Manifest":
        """The videos of one split, with the same classes."""
        return self.with_videos(v for v in self.videos if v.split == split)

    def with_videos(self, videos) -> "Manifest":
        """The same data set with other videos."""
        return dataclasses.replace(self, videos=tuple(videos))

    def digest(self) -> str:
        """Hash of what was compared: paths, labels, splits and bytes of all videos, in order."""
        rows = [(v.name, v.label, v.split, v.group, v.frames, v.sha256) for v in self.videos]
        return hashlib.sha256(repr((self.classes, rows)).encode()).hexdigest()[:16]


COLUMNS = tuple(field.name for field in dataclasses.fields(Video))
NEEDED = COLUMNS[: COLUMNS.index("reason") + 1]  # manifests of 0.1.0 have no more


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as CSV, whole or not at all; paths relative to the file where they can be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    here = path.parent.resolve()
    root = os.path.relpath(manifest.root, here)
    for video in manifest.videos:
        inside = not os.path.isabs(video.path)
        where = os.path.normpath(f"{root}/{video.path}") if inside else os.path.relpath(video.path, here)
        writer.writerow([where, *(getattr(video, column) for column in COLUMNS[1:])])
    write_text_whole(path, text.getvalue())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that `write_manifest` wrote.

    Raises:
        DataError: naming file and line, for a missing column or a value that does not fit it.
    """
    path = Path(path)
    with path.open(newline="", encoding="utf-8-sig") as file:  # Excel adds a mark
        reader = csv.reader(file)
        header = next(reader, [])
        missing = [column for column in NEEDED if column not in header]
        if missing:
            raise DataError(
                f"{path} is not a manifest of `timelift scan`: column(s) {', '.join(missing)} missing"
            )
        plan = [_reading(field, header) for field in dataclasses.fields(Video)]
        with _no_collection():
            videos = tuple(_video(row, plan, path, reader.line_num) for row in reader if row)
    classes = tuple(sorted({v.label for v in videos}))
    return Manifest(root=str(path.parent.resolve()), classes=classes, videos=videos)


_STATUSES = {status: status for status in get_args(Status)}
_KINDS: dict[str, Callable] = {
    **dict.fromkeys(("label", "group"), sys.intern),  # one string for all videos that share it
    "split": {split: split for split in ("", "train", "val", "test")}.__getitem__,
    "status": _STATUSES.__getitem__,
    "timestamps_increasing": "True".__eq__,
    **dict.fromkeys(("frames", "declared_frames", "width", "height", "rotation", "first_frame"), int),
    **dict.fromkeys(("fps", "start", "end"), float),
}
_Reading = tuple[int | None, Callable | None, Any]


def _reading(field: dataclasses.Field, header: list[str]) -> _Reading:
    """Where a field stands in a row, what makes its value of the text, and its value if it stands nowhere."""
    place = header.index(field.name) if field.name in header else None
    return place, _KINDS.get(field.name), field.default


def _video(row: list[str], plan: list[_Reading], path: Path, line: int) -> Video:
    try:
        values: list[Any] = [
            default if place is None else row[place] if kind is None else kind(row[place])
            for place, kind, default in plan
        ]
        return Video(*values)
    except (ValueError, KeyError, IndexError) as error:
        what = "a value is missing" if isinstance(error, IndexError) else f"a value does not fit: {error}"
        raise DataError(
            f"{path}, line {line}: {what}; delete the file and run `timelift scan` again"
        ) from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without looking for garbage: among new rows there is none, and looking takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
