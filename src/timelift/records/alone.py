"""One process at a time on one folder, whatever ends the process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timelift.records.errors import UsageError


@contextmanager
def alone_in(file: Path) -> Iterator[None]:
    """Hold a file's lock for the time of the block; the file stays as it is.

    Raises:
        UsageError: if another process holds it.
    """
    with file.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another process is writing to {file.parent}: wait until it has ended"
            ) from None
        yield
