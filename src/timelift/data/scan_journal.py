"""What a scan has found so far, on disk, so that a scan that was stopped goes on where it was.

A line for every file as soon as it was decoded: a file that has not changed since is not opened again. The
files at which a decoder crashed or hung stay in a list of their own, the quarantine, from scan to scan.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from timelift.data.tar_member import archive_of
from timelift.records.whole import write_text_whole

Answer = dict[str, Any]  # what a worker process found in a file
_QUARANTINE_COLUMNS = ("path", "bytes", "modified", "reason")


@dataclass
class Journal:
    """The answers of an earlier scan, and where new ones go."""

    file: TextIO | None = None
    answers: dict[str, tuple[list, Answer]] = field(default_factory=dict)  # path -> its state, what it held
    quarantine: dict[str, tuple[list, str]] = field(default_factory=dict)  # path -> its state, why

    def known(self, path: str, parts: list) -> Answer | None:
        """What was found in the file, if it and what is asked of it are the same as then."""
        state = file_state(path)
        if path in self.quarantine and self.quarantine[path][0] == state:
            return {"lost": f"{self.quarantine[path][1]}; in quarantine, not opened again"}
        told, answer = self.answers.get(path, (None, {}))
        return answer if told == [state, parts] else None

    def note(self, path: str, parts: list, answer: Answer) -> None:
        """Write down at once what was found in a file."""
        state = file_state(path)
        if "lost" in answer:
            self.quarantine[path] = (state, answer["lost"])
        if self.file is not None:
            line = json.dumps([path, [state, parts], answer])
            self.file.write(f"{line}\n")
            self.file.flush()


@contextmanager
def journal_of(output: Path, *, retry: bool = False) -> Iterator[Journal]:
    """The journal beside a manifest, deleted when the block ends well; the quarantine stays.

    retry: open the files that are in quarantine once more.
    """
    output = Path(output)
    path, kept = journal_path(output), quarantine_path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(None, _read(path), {} if retry else _read_quarantine(kept))
    for name, (told, answer) in list(journal.answers.items()):
        if "lost" in answer:
            del journal.answers[name]
            if not retry:
                journal.quarantine[name] = (told[0], answer["lost"])
    try:
        with path.open("a", encoding="utf-8") as journal.file:
            yield journal
    finally:
        journal.file = None
        _write_quarantine(kept, journal.quarantine)
    path.unlink()


def journal_path(output: Path) -> Path:
    """manifest.csv -> manifest.csv.scanning."""
    return output.with_name(f"{output.name}.scanning")


def quarantine_path(output: Path) -> Path:
    """manifest.csv -> manifest.quarantine.csv."""
    return output.with_name(f"{output.stem}.quarantine.csv")


def file_state(path: str) -> list[int]:
    """Bytes and time of the last change, of an archive for its members; [] if there is no such file."""
    try:
        found = os.stat(archive_of(Path(path)) or path)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _read(path: Path) -> dict[str, tuple[list, Answer]]:
    if not path.is_file():
        return {}
    found = {}
    with path.open("rb+") as file:
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):  # cut off by whatever stopped the scan
                break
            whole += len(line)
            name, told, answer = json.loads(line)
            found[name] = (told, answer)
        file.truncate(whole)
    return found


def _read_quarantine(path: Path) -> dict[str, tuple[list, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        os.path.normpath(path.parent.resolve() / row["path"]): (
            [int(row["bytes"]), int(row["modified"])],
            row["reason"],
        )
        for row in rows
    }


def _write_quarantine(path: Path, quarantine: dict[str, tuple[list, str]]) -> None:
    if not quarantine:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_QUARANTINE_COLUMNS)
    for name, (state, reason) in sorted(quarantine.items()):
        writer.writerow([os.path.relpath(name, path.parent.resolve()), *(state or [0, 0]), reason])
    write_text_whole(path, text.getvalue())
