"""What the user gave, whatever its layout, as a manifest that is not scanned yet."""

import csv
import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timelift.data.folders import read_class_folders, read_split_folders, split_folders
from timelift.data.hmdb_lists import find_hmdb_lists, is_hmdb, read_hmdb_lists
from timelift.data.kinetics import is_kinetics, read_kinetics
from timelift.data.shards import MANIFEST, is_unfinished, read_shards, shards_in
from timelift.data.tables import read_csv, read_list
from timelift.data.tar_member import exists
from timelift.data.text import lines_of
from timelift.data.tree import FLOW_SETTINGS, VIDEO_SUFFIXES
from timelift.data.ucf_lists import CLASS_LIST, find_lists, read_ucf_lists
from timelift.records.errors import DataError
from timelift.records.video import NEEDED, Manifest, Video, read_manifest

_UCF_GROUP = re.compile(r"_g(\d+)_")


@dataclass(frozen=True)
class Found:
    """A data set as it lies there: its manifest, the files that are no part of it, the layout in words."""

    manifest: Manifest
    ignored: tuple[str, ...]
    kind: str


def read_dataset(
    source: Path,
    *,
    lists: tuple[Path, ...] = (),
    official_list: int = 1,
    group_pattern: str | None = None,
    group_column: str | None = None,
) -> Found:
    """The labelled videos of a folder, a CSV (Kinetics' too), a list, UCF101's or HMDB51's lists, a manifest.

    lists: text lists (train.txt, test.txt ...) or a folder with UCF101's or HMDB51's, for the videos below
    `source`. official_list: which of their three. group_column: of a CSV, in place of `group`.
    group_pattern: a regular expression searched in paths; what its parentheses match, joined by _, is the
    group. Without one, names like UCF101's (v_Archery_g01_c01) give Archery_g01, and else each stands alone.

    Raises:
        DataError: in one line, with file and line where there is one, for whatever makes this no data set.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source} does not exist; wanted a folder of videos, a CSV or a list")
    if group_column is not None and (lists or source.suffix.lower() != ".csv"):
        raise DataError(f"{source} has no columns: a group column ({group_column}) needs a CSV")
    found = _read_lists(source, lists, official_list) if lists else _read(source, official_list, group_column)
    if found.kind != "manifest" or group_pattern is not None:
        grouped = _grouped(found.manifest.videos, group_pattern)
        found = dataclasses.replace(found, manifest=found.manifest.with_videos(grouped))
    _check(source, found.manifest)
    return found


def _read(source: Path, official_list: int, group_column: str | None) -> Found:
    if source.is_dir():
        return _read_folder(source, official_list)
    if source.suffix.lower() == ".csv":
        return _read_csv(source, group_column)
    if source.suffix.lower() in VIDEO_SUFFIXES:
        raise DataError(f"{source} is one video; wanted a folder of videos, a CSV or a list")
    return _found(source.parent, read_list(source, source.parent), [], "list of paths and labels")


def _read_folder(source: Path, official_list: int) -> Found:
    if (source / FLOW_SETTINGS).is_file():
        return _read_flow(source)
    official = find_lists(source)
    if official:
        return _read_ucf(*official, official_list)
    hmdb = find_hmdb_lists(source)
    if hmdb:
        return _read_hmdb(*hmdb, official_list)
    if split_folders(source):
        videos, ignored = read_split_folders(source)
        return _found(source, videos, ignored, "a folder per class in train, val, test")
    videos, ignored = read_class_folders(source, source)
    if not videos and shards_in(source):
        return _read_shards(source)
    if not videos:
        raise DataError(f"{source} holds no class folders; wanted {source.name}/CLASS/video")
    return _found(source, videos, ignored, "a folder per class")


def _read_flow(source: Path) -> Found:
    if not (source / MANIFEST).is_file():
        raise DataError(f"{source} is optical flow that is not finished: run `timelift flow` again")
    return _read_csv(source / MANIFEST)


def _read_shards(source: Path) -> Found:
    if is_unfinished(source):
        raise DataError(f"{source} holds shards that are not finished: run `timelift shards` again")
    if (source / MANIFEST).is_file():
        return _read_csv(source / MANIFEST)
    return _found(source, *read_shards(source), "shards in webdataset's format")


def _read_csv(source: Path, group_column: str | None = None) -> Found:
    header = next(csv.reader(lines_of(source)[:1]), [])
    if group_column is None and is_kinetics(header):
        return _found(source.parent, *read_kinetics(source), "Kinetics' CSV")
    if group_column is not None or not set(NEEDED) <= set(header):
        return _found(source.parent, read_csv(source, group_column or "group"), [], "CSV table")
    manifest = read_manifest(source)
    for video in manifest.videos:
        if video.status not in ("unreadable", "unscanned") and not exists(manifest.full_path(video)):
            raise DataError(f"{source} names {video.path}, which does not exist; run `timelift scan` again")
    return Found(manifest, (), "manifest")


def _read_ucf(lists: Path, videos: Path, official_list: int) -> Found:
    rows, ignored = read_ucf_lists(lists, videos, official_list)
    return _found(videos, rows, ignored, f"UCF101 lists (list {official_list:02d})")


def _read_hmdb(lists: Path, videos: Path, official_list: int) -> Found:
    rows, ignored = read_hmdb_lists(lists, videos, official_list)
    return _found(videos, rows, ignored, f"HMDB51 lists (list {official_list})")


def _read_lists(source: Path, lists: Sequence[Path], official_list: int) -> Found:
    if not source.is_dir():
        raise DataError(f"{source} is a file; with lists, give the folder that their paths are relative to")
    if len(lists) == 1 and (Path(lists[0]) / CLASS_LIST).is_file():
        return _read_ucf(Path(lists[0]), source, official_list)
    if len(lists) == 1 and is_hmdb(Path(lists[0])):
        return _read_hmdb(Path(lists[0]), source, official_list)
    videos = [video for path in lists for video in read_list(Path(path), source)]
    return _found(source, videos, [], f"{len(lists)} list(s) of paths and labels")


def _found(root: Path, videos: Sequence[Video], ignored: Sequence[Path], kind: str) -> Found:
    classes = tuple(sorted({video.label for video in videos}))
    manifest = Manifest(root=str(root.resolve()), classes=classes, videos=tuple(videos))
    return Found(manifest, tuple(path.relative_to(root).as_posix() for path in ignored), kind)


def _grouped(videos: Sequence[Video], pattern: str | None) -> list[Video]:
    if pattern is not None:
        compiled = _compiled(pattern)
        return [dataclasses.replace(video, group=_matched(video, compiled)) for video in videos]
    if any(video.group for video in videos):
        return list(videos)
    matches = [_UCF_GROUP.search(Path(video.path).name) for video in videos]
    return [
        dataclasses.replace(video, group=f"{video.label}_g{match[1]}") if match and all(matches) else video
        for video, match in zip(videos, matches, strict=True)
    ]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(f"group pattern {pattern!r} is no regular expression: {error}") from error


def _matched(video: Video, pattern: re.Pattern[str]) -> str:
    match = pattern.search(Path(video.path).as_posix())
    if not match:
        words = f"group pattern {pattern.pattern!r} does not match {video.path}"
        raise DataError(f"{words}; every video needs a group")
    return "_".join(part for part in match.groups() if part) or match[0]


def _check(source: Path, manifest: Manifest) -> None:
    if not manifest.videos:
        raise DataError(f"{source} names no videos")
    seen: set[str] = set()
    for video in manifest.videos:
        if video.name in seen:
            raise DataError(f"{source} names {video.name} twice; each video stands once")
        seen.add(video.name)
        if any("\ud800" <= letter <= "\udfff" for letter in video.path):  # bytes that are no UTF-8
            raise DataError(f"{source}: the file name {video.path!r} is no UTF-8: rename the file")
    if len(manifest.classes) < 2:
        raise DataError(f"{source} has one class only ({manifest.classes[0]}); wanted two or more")
