"""The manifest: one row a video, as `timelift scan` found it, read and written as CSV."""

import csv
import dataclasses
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from timelift.records.errors import DataError, UsageError
from timelift.records.whole import write_text_whole

Status = Literal["unscanned", "ok", "short", "damaged", "unreadable"]


@dataclass(frozen=True)
class Video:
    """One labelled video; `path` is relative to the manifest's root, or absolute, and names the video.

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

    def separated(self, separator: str) -> "Manifest":
        """The same videos with labels that hold several classes, as "run|jump" with "|".

        Raises:
            DataError: if no label holds the separator, or the classes are fewer than two.
        """
        several = dataclasses.replace(self, separator=separator)
        classes = tuple(sorted({name for video in self.videos for name in several.names_of(video)}))
        if not any(separator in video.label for video in self.videos) or len(classes) < 2:
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
        rows = [(v.path, v.label, v.split, v.group, v.frames, v.sha256) for v in self.videos]
        return hashlib.sha256(repr((self.classes, rows)).encode()).hexdigest()[:16]


COLUMNS = tuple(field.name for field in dataclasses.fields(Video))


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest as CSV, whole or not at all; paths relative to the file where they can be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for video in manifest.videos:
        where = os.path.relpath(manifest.full_path(video), path.parent.resolve())
        row = dataclasses.replace(video, path=where)
        writer.writerow([getattr(row, column) for column in COLUMNS])
    write_text_whole(path, text.getvalue())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that `write_manifest` wrote.

    Raises:
        DataError: naming file and line, for a missing column or a value that does not fit it.
    """
    path = Path(path)
    with path.open(newline="", encoding="utf-8-sig") as file:  # Excel adds a mark
        reader = csv.DictReader(file)
        missing = [c for c in COLUMNS if c not in (reader.fieldnames or [])]
        if missing:
            raise DataError(
                f"{path} is not a manifest of `timelift scan`: column(s) {', '.join(missing)} missing"
            )
        videos = tuple(_video(row, f"{path}, line {reader.line_num}") for row in reader)
    classes = tuple(sorted({v.label for v in videos}))
    return Manifest(root=str(path.parent.resolve()), classes=classes, videos=videos)


def _video(row: dict[str, str], where: str) -> Video:
    try:
        if row["status"] not in get_args(Status):
            raise ValueError(f"status {row['status']!r}")
        return Video(
            path=row["path"],
            label=row["label"],
            split=row["split"],
            group=row["group"],
            status=row["status"],  # type: ignore[arg-type]
            frames=int(row["frames"]),
            declared_frames=int(row["declared_frames"]),
            width=int(row["width"]),
            height=int(row["height"]),
            fps=float(row["fps"]),
            rotation=int(row["rotation"]),
            timestamps_increasing=row["timestamps_increasing"] == "True",
            sha256=row["sha256"],
            reason=row["reason"],
        )
    except ValueError as error:
        raise DataError(f"{where}: {error}; delete the file and run `timelift scan` again") from error
