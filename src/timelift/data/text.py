"""Text files as lines."""

from pathlib import Path

from timelift.records.errors import DataError


def lines_of(path: Path) -> list[str]:
    """The lines of a UTF-8 text, with or without a byte-order mark.

    Raises:
        DataError: if the file does not exist or is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8 text") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
