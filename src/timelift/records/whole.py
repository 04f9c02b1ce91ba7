"""Files that are there whole or not at all, and what is said when there is no room for them."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from timelift.records.errors import DiskFull

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk full, quota used up, limit on the size of a file
_NOTHING_BYTES = 64 * 1024  # free space that counts as none, where the error itself does not say


@contextmanager
def whole(path: Path, writer: str = "") -> Iterator[Path]:
    """Where to write to; it becomes `path` when the block ends, on disk by then, and goes if the block fails.

    writer: tells several processes apart that may write the same file at once.

    Raises:
        DiskFull: if there is no room, whatever the block raised.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{writer}.partial" if writer else f"{path.name}.partial")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
    except BaseException as error:
        full = isinstance(error, Exception) and (has_no_room(error) or _free_bytes(path) < _NOTHING_BYTES)
        complaint = no_room(path) if full else error  # before room is made
        partial.unlink(missing_ok=True)
        if complaint is error or isinstance(error, DiskFull):
            raise
        raise complaint from error


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all.

    Raises:
        DiskFull: if there is no room.
    """
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def has_no_room(error: BaseException) -> bool:
    """Whether an error, or what it came from, says that there is no room, in whatever library's words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DiskFull) or getattr(seen, "errno", None) in NO_ROOM:
            return True
        text = str(seen)
        if re.search(r"disk is full|\d+ requested and \d+ written", text):  # SQLite's words, and NumPy's
            return True
        if any(os.strerror(code) in text for code in NO_ROOM):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def no_room(path: Path) -> DiskFull:
    """The one line: what could not be written, how much is free there, and what to do."""
    there = _existing(Path(path).absolute().parent)
    try:
        disk = shutil.disk_usage(there)
        free = f"{_size(disk.free)} of {_size(disk.total)} are free"
    except OSError:
        free = "how much is free cannot be read"
    return DiskFull(
        f"no room for {path}: {free} on the disk of {there}, or a quota or a limit on files is reached. "
        "Make room; what was finished is kept, and the same command goes on from there"
    )


@contextmanager
def saying_no_room(path: Path) -> Iterator[None]:
    """For a file that grows: the one line in place of the system's error.

    Raises:
        DiskFull: if there is no room.
    """
    try:
        yield
    except OSError as error:
        if has_no_room(error):
            raise_no_room(error, path)
        raise


def raise_no_room(error: BaseException, path: Path) -> NoReturn:
    """Raise the error if it is the one line already, else that line for `path`.

    Raises:
        DiskFull: always.
    """
    if isinstance(error, DiskFull):
        raise error
    raise no_room(path) from error


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = Path(path).absolute()
    return next(at for at in (path, *path.parents) if at.exists())


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
