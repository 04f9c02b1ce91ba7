"""A file inside a tar archive, named as if the archive were a folder: shard-000003.tar/00000012.avi."""

import io
import posixpath
import tarfile
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from timelift.records.errors import DataError


def archive_of(path: Path) -> Path | None:
    """The tar archive that a path goes through; None for a path of the file system."""
    return next((up for up in path.parents if up.suffix == ".tar" and up.is_file()), None)


def exists(path: Path) -> bool:
    """Whether there is such a file, folder or member of an archive."""
    archive = archive_of(path)
    return path.exists() if archive is None else _name(path, archive) in members(archive)


def size_of(path: Path) -> int:
    """Bytes of a file, of a member of an archive, or of all files in a folder.

    Raises:
        OSError: if there is no such file. DataError: if the archive has no such member.
    """
    archive = archive_of(path)
    if archive is not None:
        return _member(path, archive)[1]
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return path.stat().st_size


def open_file(path: Path) -> BinaryIO:
    """A file or a member of an archive, for reading.

    Raises:
        OSError: if there is no such file. DataError: if the archive has no such member.
    """
    archive = archive_of(path)
    if archive is None:
        return path.open("rb")
    return cast(BinaryIO, io.BufferedReader(_Member(path, archive, *_member(path, archive))))


def members(archive: Path) -> dict[str, tuple[int, int]]:
    """Name -> (first byte, bytes) of every file in an archive; the headers are read once a process.

    Raises:
        DataError: if it is no tar archive that can be read.
    """
    status = archive.stat()
    return _members(archive, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _members(archive: Path, size: int, changed: int) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(archive, "r:") as tar:
            found = {
                posixpath.normpath(member.name): (member.offset_data, member.size)  # ./a.mp4 is a.mp4
                for member in tar
                if member.isfile()
            }
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{archive} cannot be read as a tar archive: {error}") from error
    if any(start + length > size for start, length in found.values()):
        raise DataError(f"{archive} is cut off: write it again")
    return found


def _member(path: Path, archive: Path) -> tuple[int, int]:
    found = members(archive).get(_name(path, archive))
    if found is None:
        raise DataError(f"{archive} holds no {_name(path, archive)}: was it written anew? scan again")
    return found


def _name(path: Path, archive: Path) -> str:
    return path.relative_to(archive).as_posix()


class _Member(io.RawIOBase):
    """The bytes from `start` on of an archive, as a file of its own."""

    def __init__(self, path: Path, archive: Path, start: int, length: int):
        self.name = str(path)  # its ending helps the decoder to guess the format
        self._file = archive.open("rb", buffering=0)
        self._start, self._length, self._at = start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence])
        return self._at

    def readinto(self, buffer) -> int:
        wanted = memoryview(buffer)[: max(0, self._length - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(wanted)
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
