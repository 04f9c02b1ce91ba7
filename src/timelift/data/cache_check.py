"""Cached videos compared with their checksums: those that a disk or a hand has changed are deleted."""

from dataclasses import dataclass
from pathlib import Path

from timelift.data.cache import LAYOUT, checksum, checksum_path, default_folder
from timelift.data.parallel import Progress, in_processes


@dataclass(frozen=True)
class CacheCheck:
    """What comparing every cached video with its checksum told."""

    good: int
    damaged: tuple[Path, ...]  # deleted: the next run decodes these videos again
    unknown: int  # cached by an older release, without a checksum


def check_cache(
    folder: Path | None = None, *, workers: int | None = None, progress: Progress | None = None
) -> CacheCheck:
    """Read every cached video and compare its checksum; those that differ are deleted."""
    folder = default_folder() if folder is None else Path(folder)
    paths = sorted(p for p in (folder / LAYOUT).glob("??/*") if p.suffix in (".npy", ".jpegs"))
    answers = in_processes(_is_whole, paths, workers=workers, progress=progress)
    damaged = tuple(path for path, whole in zip(paths, answers, strict=True) if whole is False)
    for path in damaged:
        path.unlink(missing_ok=True)
        checksum_path(path).unlink(missing_ok=True)
    return CacheCheck(answers.count(True), damaged, answers.count(None))


def _is_whole(path: Path) -> bool | None:
    """Whether the bytes are those that were written; None if nothing says what these were."""
    try:
        wanted = checksum_path(path).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    return checksum(path) == wanted
