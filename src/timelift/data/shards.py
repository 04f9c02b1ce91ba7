"""Videos in tar archives of webdataset's format, for data that outgrow one disk or one machine.

Sample 12 is 00000012.avi (the file's own bytes), 00000012.cls (the class index) and 00000012.json (the
manifest's row); samples of all classes are mixed by the seed, so that each shard holds a bit of all.
`manifest.csv` beside the shards makes the folder a data set that every verb takes. Training does not read
shards one after the other: members are read where they lie, in the order that the seed and the epoch give,
the same for any number of workers.
"""

import dataclasses
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from timelift.data.parallel import Progress, in_processes
from timelift.data.table_rows import SPLIT_NAMES
from timelift.data.tables import split_in_name
from timelift.data.tar_member import members, open_file, size_of
from timelift.data.tree import VIDEO_SUFFIXES, natural_key
from timelift.records.alone import alone_in
from timelift.records.errors import DataError, UsageError
from timelift.records.video import Manifest, Video, write_manifest
from timelift.records.whole import whole, write_text_whole

MANIFEST = "manifest.csv"
_PLAN = "shards.json"  # what the shards were written from: another data set never mixes in


@dataclass(frozen=True)
class Sample:
    """One file of a shard: its key there, where it comes from, its rows (several: parts of a film)."""

    key: str
    source: Path
    videos: tuple[Video, ...]

    @property
    def name(self) -> str:
        """The name of the video's file in the shard."""
        return self.key + (Path(self.videos[0].path).suffix.lower() or ".bin")


def write_shards(
    manifest: Manifest,
    folder: Path,
    *,
    shard_bytes: int = 256 * 2**20,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Write the videos into shards of about so many bytes; what was written before is kept.

    A file of which several parts are rows is packed once. Gives the manifest of the shards, which lies in the
    folder as `manifest.csv` when all are there.

    Raises:
        DataError: for videos that were not scanned, are missing, or are folders of pictures.
        UsageError: if the folder holds shards of other videos or of other settings, or another process is
            at work there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check_plan(folder, {"videos": manifest.digest(), "shard_bytes": shard_bytes, "seed": seed})
    plan = plan_shards(manifest, shard_bytes, seed)
    jobs = [
        (folder / f"shard-{number:06d}.tar", samples, manifest.classes) for number, samples in enumerate(plan)
    ]
    with alone_in(folder / _PLAN):
        in_processes(_write, jobs, workers=workers, progress=progress)
        rows = [
            dataclasses.replace(video, path=f"{path.name}/{sample.name}")
            for path, samples, _ in jobs
            for sample in samples
            for video in sample.videos
        ]
        sharded = Manifest(root=str(folder.resolve()), classes=manifest.classes, videos=tuple(rows))
        write_manifest(sharded, folder / MANIFEST)
    return sharded


def plan_shards(manifest: Manifest, shard_bytes: int, seed: int) -> list[list[Sample]]:
    """Which videos go into which shard, in which order: a function of manifest, size and seed alone."""
    rows: dict[Path, list[Video]] = {}
    for video in manifest.videos:
        rows.setdefault(manifest.full_path(video), []).append(video)
    files = list(rows)
    random.Random(seed).shuffle(files)
    plan: list[list[Sample]] = []
    room = 0
    for number, source in enumerate(files):
        size = _size(source, rows[source][0])
        if not plan or size > room:
            plan.append([])
            room = shard_bytes
        plan[-1].append(Sample(f"{number:08d}", source, tuple(rows[source])))
        room -= size
    return plan


def shards_in(folder: Path) -> list[Path]:
    """The tar archives of a folder, in natural order."""
    return sorted(folder.glob("*.tar"), key=lambda path: natural_key(path.name))


def is_unfinished(folder: Path) -> bool:
    """Whether `timelift shards` was begun in the folder, and is not done."""
    return (folder / _PLAN).is_file() and not (folder / MANIFEST).is_file()


def read_shards(folder: Path) -> tuple[list[Video], list[Path]]:
    """The videos of shards that others wrote, and the samples without one.

    A sample is KEY.mp4 beside KEY.cls, KEY.txt or KEY.json with a "label". The split is in the archive's name
    (train-000000.tar), or the JSON's "split"; "group" may stand there too.

    Raises:
        DataError: naming the archive and the sample, for a video without a label, JSON that cannot be read,
            or a split that is none of train, val and test.
    """
    videos: list[Video] = []
    ignored: list[Path] = []
    for archive in shards_in(folder):
        samples: dict[str, list[str]] = {}
        for name in members(archive):
            place, _, base = name.rpartition("/")
            samples.setdefault(f"{place}/{base.partition('.')[0]}", []).append(name)
        for key, names in samples.items():
            video = next((name for name in names if _ending(name) in VIDEO_SUFFIXES), None)
            if video is None:
                ignored += [archive / name for name in names]
            else:
                videos += _videos(archive, key.lstrip("/"), video, names)
    return videos, ignored


def _videos(archive: Path, key: str, video: str, names: list[str]) -> list[Video]:
    """The rows of one file: one, or its parts."""
    where = f"{archive}: sample {key}"
    files = {_ending(name): name for name in names}
    facts = _told(archive, files[".json"], where) if ".json" in files else {}
    for ending in (".cls", ".txt"):
        if ending in files and "label" not in facts:
            facts["label"] = _text(archive, files[ending]).strip()
    path = f"{archive.name}/{video}"
    return [_video(path, row, archive, where) for row in facts.get("parts", [facts])]


def _video(path: str, row: dict, archive: Path, where: str) -> Video:
    if not str(row.get("label", "")):
        raise DataError(f"{where} has no label; wanted KEY.cls, or KEY.json with a label")
    split = str(row.get("split") or split_in_name(archive.stem)).lower()
    if split not in SPLIT_NAMES:
        raise DataError(f"{where}: split {split!r} is none of train, val, test")
    start, end = (row.get(name, 0.0) for name in ("start", "end"))
    is_part = isinstance(start, float) and isinstance(end, float)
    return Video(
        path=path,
        label=str(row["label"]),
        split=SPLIT_NAMES[split],
        group=str(row.get("group") or ""),
        start=start if is_part else 0.0,
        end=end if is_part else 0.0,
    )


def _told(archive: Path, name: str, where: str) -> dict:
    try:
        facts = json.loads(_text(archive, name))
    except ValueError as error:
        raise DataError(f"{where}: {name} is no JSON: {error}") from error
    if not isinstance(facts, dict):
        raise DataError(f"{where}: {name} holds a {type(facts).__name__}; wanted an object with a label")
    return facts


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


def _text(archive: Path, name: str) -> str:
    with open_file(archive / name) as file:
        return file.read().decode("utf-8", errors="replace")


def _size(source: Path, video: Video) -> int:
    if source.is_dir():
        raise DataError(f"{video.path} is a folder of pictures: shards hold video files only")
    if video.status == "unscanned":
        raise DataError(f"{video.path} was not scanned: run `timelift scan` first")
    try:
        return size_of(source)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from error


def _check_plan(folder: Path, plan: dict) -> None:
    path = folder / _PLAN
    if not path.is_file():
        write_text_whole(path, json.dumps(plan, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != plan:
        raise UsageError(f"{folder} holds shards of other videos, size or seed: give another --output")


def _write(job: tuple[Path, list[Sample], tuple[str, ...]]) -> None:
    """One shard, whole or not at all; one that is there and holds its videos is kept."""
    path, samples, classes = job
    if path.is_file() and _holds(path, samples):
        return
    with whole(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            rows = [dataclasses.asdict(video) for video in sample.videos]
            told = rows[0] | ({"parts": rows} if len(rows) > 1 else {})
            row = json.dumps(told, ensure_ascii=False, sort_keys=True).encode()
            label = str(classes.index(sample.videos[0].label)).encode()
            with open_file(sample.source) as file:
                _add(tar, sample.name, file, _size(sample.source, sample.videos[0]))
            _add(tar, f"{sample.key}.cls", io.BytesIO(label), len(label))
            _add(tar, f"{sample.key}.json", io.BytesIO(row), len(row))


def _holds(path: Path, samples: list[Sample]) -> bool:
    try:
        there = members(path)
    except DataError:
        return False
    return all(
        there.get(sample.name, (0, -1))[1] == _size(sample.source, sample.videos[0]) for sample in samples
    ) and len(there) == 3 * len(samples)


def _add(tar: tarfile.TarFile, name: str, data: BinaryIO, size: int) -> None:
    entry = tarfile.TarInfo(name)  # no owner, no time: the same bytes whoever writes
    entry.size = size
    tar.addfile(entry, data)
