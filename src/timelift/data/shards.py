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

from timelift.data.parallel import Progress, in_processes
from timelift.data.tables import split_in_name
from timelift.data.tar_member import archive_of, members, open_file
from timelift.data.tree import VIDEO_SUFFIXES, natural_key
from timelift.records.errors import DataError, UsageError
from timelift.records.video import Manifest, Video, write_manifest
from timelift.records.whole import whole, write_text_whole

MANIFEST = "manifest.csv"
_PLAN = "shards.json"  # what the shards were written from: another data set never mixes in


@dataclass(frozen=True)
class Sample:
    """One video of a shard: its key there, where it comes from, its class index, its row."""

    key: str
    source: Path
    label: int
    video: Video

    @property
    def name(self) -> str:
        """The name of the video's file in the shard."""
        return self.key + (Path(self.video.path).suffix.lower() or ".bin")


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

    Gives the manifest of the shards, which lies in the folder as `manifest.csv` when all are there.

    Raises:
        DataError: for videos that were not scanned, are missing, or are folders of pictures.
        UsageError: if the folder holds shards of other videos or of other settings.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _check_plan(folder, {"videos": manifest.digest(), "shard_bytes": shard_bytes, "seed": seed})
    plan = plan_shards(manifest, shard_bytes, seed)
    jobs = [(folder / f"shard-{number:06d}.tar", samples) for number, samples in enumerate(plan)]
    in_processes(_write, jobs, workers=workers, progress=progress)
    rows = [
        dataclasses.replace(sample.video, path=f"{path.name}/{sample.name}")
        for path, samples in jobs
        for sample in samples
    ]
    sharded = Manifest(root=str(folder.resolve()), classes=manifest.classes, videos=tuple(rows))
    write_manifest(sharded, folder / MANIFEST)
    return sharded


def plan_shards(manifest: Manifest, shard_bytes: int, seed: int) -> list[list[Sample]]:
    """Which videos go into which shard, in which order: a function of manifest, size and seed alone."""
    videos = list(manifest.videos)
    random.Random(seed).shuffle(videos)
    plan: list[list[Sample]] = []
    room = 0
    for number, video in enumerate(videos):
        source = manifest.full_path(video)
        size = _size(source, video)
        if not plan or size > room:
            plan.append([])
            room = shard_bytes
        plan[-1].append(Sample(f"{number:08d}", source, manifest.label_index(video), video))
        room -= size
    return plan


def shards_in(folder: Path) -> list[Path]:
    """The tar archives of a folder, in natural order."""
    return sorted(folder.glob("*.tar"), key=lambda path: natural_key(path.name))


def read_shards(folder: Path) -> list[Video]:
    """The videos of shards that others wrote: KEY.mp4 beside KEY.cls, KEY.txt or KEY.json with a "label".

    The split is in the archive's name (train-000000.tar), or the JSON's "split"; "group" may stand there too.

    Raises:
        DataError: naming the archive and the sample, for a video without a label.
    """
    return [video for archive in shards_in(folder) for video in _videos(archive)]


def _videos(archive: Path) -> list[Video]:
    samples: dict[str, dict[str, str]] = {}
    for name in members(archive):
        place, _, base = name.rpartition("/")
        key, _, ending = base.partition(".")
        samples.setdefault(f"{place}/{key}", {})[f".{ending.lower()}"] = name
    found = []
    for key, files in samples.items():
        video = next((name for ending, name in files.items() if ending in VIDEO_SUFFIXES), None)
        if video is None:
            continue
        facts = _facts(archive, files, key)
        found.append(
            Video(
                path=f"{archive.name}/{video}",
                label=str(facts["label"]),
                split=str(facts.get("split") or split_in_name(archive.stem)),
                group=str(facts.get("group") or ""),
            )
        )
    return found


def _facts(archive: Path, files: dict[str, str], key: str) -> dict:
    facts = json.loads(_text(archive, files[".json"])) if ".json" in files else {}
    for ending in (".cls", ".txt"):
        if ending in files and "label" not in facts:
            facts["label"] = _text(archive, files[ending]).strip()
    if not str(facts.get("label", "")):
        raise DataError(f"{archive}: sample {key} has no label; wanted KEY.cls, or KEY.json with a label")
    return facts


def _text(archive: Path, name: str) -> str:
    with open_file(archive / name) as file:
        return file.read().decode("utf-8")


def _size(source: Path, video: Video) -> int:
    if source.is_dir():
        raise DataError(f"{video.path} is a folder of pictures: shards hold video files only")
    if video.status == "unscanned":
        raise DataError(f"{video.path} was not scanned: run `timelift scan` first")
    archive = archive_of(source)
    if archive is not None:
        return members(archive)[source.relative_to(archive).as_posix()][1]
    try:
        return source.stat().st_size
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from error


def _check_plan(folder: Path, plan: dict) -> None:
    path = folder / _PLAN
    if not path.is_file():
        write_text_whole(path, json.dumps(plan, indent=2) + "\n")
    elif json.loads(path.read_text(encoding="utf-8")) != plan:
        raise UsageError(f"{folder} holds shards of other videos, size or seed: give another --output")


def _write(job: tuple[Path, list[Sample]]) -> None:
    """One shard, whole or not at all; one that is there and holds its videos is kept."""
    path, samples = job
    if path.is_file() and _holds(path, samples):
        return
    with whole(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            row = json.dumps(dataclasses.asdict(sample.video), ensure_ascii=False, sort_keys=True)
            with open_file(sample.source) as file:
                _add(tar, sample.name, file.read())
            _add(tar, f"{sample.key}.cls", str(sample.label).encode())
            _add(tar, f"{sample.key}.json", row.encode())


def _holds(path: Path, samples: list[Sample]) -> bool:
    try:
        there = members(path)
    except DataError:
        return False
    return all(
        there.get(sample.name, (0, -1))[1] == _size(sample.source, sample.video) for sample in samples
    ) and len(there) == 3 * len(samples)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # no owner, no time: the same bytes whoever writes
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
