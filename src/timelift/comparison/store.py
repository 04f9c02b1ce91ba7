"""A study on disk: its cells (condition x variant x choice x seed) and how far they are. Nothing is deleted.

`study.sqlite` is the index, shared by all worker processes of a study; every run has a folder of its own.
"""

import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from timelift.comparison.process import host_name, is_alive, process_birth
from timelift.records.errors import DataError, UsageError
from timelift.records.run import RunState
from timelift.records.whole import no_room

VERSION = 2  # of the schema, in SQLite's user_version; 1 had neither conditions nor choices
SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (
    id INTEGER PRIMARY KEY, condition TEXT NOT NULL, variant TEXT NOT NULL, choice TEXT NOT NULL,
    seed INTEGER NOT NULL, place INTEGER NOT NULL, position INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'new', worker TEXT NOT NULL DEFAULT '',
    pid INTEGER NOT NULL DEFAULT 0, birth TEXT NOT NULL DEFAULT '', host TEXT NOT NULL DEFAULT '',
    started TEXT NOT NULL DEFAULT '', finished TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '',
    UNIQUE (condition, variant, choice, seed));
CREATE TABLE IF NOT EXISTS events (
    at TEXT NOT NULL, cell INTEGER NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chosen (
    at TEXT NOT NULL, condition TEXT NOT NULL, variant TEXT NOT NULL, choice TEXT NOT NULL,
    why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS gates (
    condition TEXT NOT NULL, variant TEXT NOT NULL, seeds INTEGER NOT NULL,
    stopped INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '', UNIQUE (condition, variant));
CREATE TABLE IF NOT EXISTS looks (at TEXT NOT NULL, seeds INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS stated (
    one INTEGER PRIMARY KEY CHECK (one = 1), seeds INTEGER NOT NULL, max_seeds INTEGER NOT NULL);
"""
TABLES = {"cells", "events", "chosen", "gates", "looks", "stated"}
COLUMNS = "id, condition, variant, choice, seed, state, worker, pid, birth, host, started, finished, error"
IN_ORDER = "ORDER BY choice = '', seed, place, position, id"


@dataclass(frozen=True)
class Cell:
    """One run to make, and how far it is. Times are UTC, ISO 8601; "" until they are."""

    id: int
    condition: str  # a point of the study's axes, in words; "" where there are none
    variant: str
    choice: str  # what a selection run tries, in words; "" for a run that is judged
    seed: int
    state: RunState = "new"
    worker: str = ""
    pid: int = 0
    birth: str = ""  # of the process, so that a reused pid is not taken for it
    host: str = ""
    started: str = ""
    finished: str = ""
    error: str = ""  # the traceback of a failed cell


class Store:
    """The cells of one study. Every call opens the index anew, so threads and processes may share a Store."""

    def __init__(self, folder: Path):
        """Open the study in `folder`, or begin one there."""
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(self.connect()) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if "cells" in there and version != VERSION:
                raise DataError(
                    f"{self.folder / 'study.sqlite'} is of another timelift (index {version}, "
                    f"this one writes {VERSION}): give another --output"
                )
            if not there >= TABLES:  # else nothing is written, so that a full disk can be looked at
                with self._saying_when_full():
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.executescript(
                        f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
                    )

    def add_cells(
        self, variants: Sequence[str], seeds: Iterable[int], condition: str = "", choice: str = ""
    ) -> None:
        """Add every variant with every seed that is not there yet; what is there stays as it is."""
        seeds = tuple(seeds)
        with self.transaction() as connection:
            place = _number(connection, "place", "condition", (condition,))[condition]
            positions = _number(connection, "position", "variant", variants)
            connection.executemany(
                "INSERT OR IGNORE INTO cells (condition, variant, choice, seed, place, position) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (condition, name, choice, seed, place, positions[name])
                    for name in variants
                    for seed in seeds
                ],
            )

    def claim(self, worker: str) -> Cell | None:
        """Take the next new cell for this process; None if there is none.

        Selection runs come first; then all conditions and variants of a seed before the next seed. A cell
        whose variant still has selection runs to make in its condition has to wait for them, and one behind
        a gate (see `gates`) for its round.
        """
        with self.transaction() as connection:
            row = connection.execute(
                "SELECT id FROM cells AS mine WHERE state = 'new' AND (choice != '' OR NOT EXISTS ("
                "SELECT 1 FROM cells WHERE condition = mine.condition AND variant = mine.variant "
                "AND choice != '' AND state IN ('new', 'running'))) AND NOT (choice = '' AND EXISTS ("
                "SELECT 1 FROM gates WHERE condition = mine.condition AND variant = mine.variant "
                f"AND seeds <= mine.seed)) {IN_ORDER} LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            pid = os.getpid()
            connection.execute(
                "UPDATE cells SET state = 'running', worker = ?, pid = ?, birth = ?, host = ?, started = ?, "
                "finished = '', error = '' WHERE id = ?",
                (worker, pid, process_birth(pid), host_name(), _now(), row[0]),
            )
            record(connection, row[0], "running", f"{worker}, process {pid} on {host_name()}")
            return _cell(connection, row[0])

    def finish(self, cell: Cell) -> None:
        """Say that a claimed cell is done; its folder must hold the run by now.

        Raises:
            UsageError: if the cell is not this claim's any more.
        """
        self._end(cell, "done", "")

    def fail(self, cell: Cell, traceback: str) -> None:
        """Say that a claimed cell failed, and how; other cells go on.

        Raises:
            UsageError: if the cell is not this claim's any more.
        """
        self._end(cell, "failed", traceback)

    def release(self, cell: Cell, why: str) -> None:
        """Give a claimed cell back without having run it; it is new again, unless the claim is over."""
        with self.transaction() as connection:
            if _cell(connection, cell.id) == cell:
                self._renew(connection, cell, why)

    def waits(self) -> bool:
        """Whether there are new cells: after `claim` gave none, they wait for selection runs of others."""
        with closing(self.connect()) as connection:
            return connection.execute("SELECT 1 FROM cells WHERE state = 'new'").fetchone() is not None

    def reclaim_dead(self) -> tuple[Cell, ...]:
        """Give back cells whose process died on this machine, and return them as they are now.

        They are new again; or done, where the process died between writing its run and saying so. Cells that
        another machine runs are left alone: see `reclaim_host`.
        """
        host = host_name()
        return self._reclaim(lambda cell: cell.host == host and not is_alive(cell.pid, cell.birth))

    def reclaim_host(self, host: str) -> tuple[Cell, ...]:
        """As `reclaim_dead`, for all running cells of a machine that is known to be gone."""
        return self._reclaim(lambda cell: cell.host == host)

    def retry_failed(self) -> tuple[Cell, ...]:
        """Make failed cells new again and return them; what went wrong stays in the events."""
        with self.transaction() as connection:
            failed = _cells(connection, "failed")
            for cell in failed:
                self._renew(connection, cell, "retried")
            return tuple(_cell(connection, cell.id) for cell in failed)

    def status(self) -> tuple[Cell, ...]:
        """All cells, in the order in which they are claimed."""
        with closing(self.connect()) as connection:
            return _cells(connection)

    def state_seeds(self, seeds: int, max_seeds: int) -> tuple[int, int]:
        """The seeds stated when the study began: (seeds, max_seeds); the first call states them."""
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO stated VALUES (1, ?, ?)", (seeds, max_seeds))
            return connection.execute("SELECT seeds, max_seeds FROM stated").fetchone()

    def record_look(self, seeds: int) -> tuple[int, ...]:
        """Note that a finished table with so many seeds was looked at; all numbers of seeds looked at."""
        with self.transaction() as connection:
            connection.execute("INSERT INTO looks VALUES (?, ?)", (_now(), seeds))
            rows = connection.execute("SELECT DISTINCT seeds FROM looks ORDER BY seeds").fetchall()
        return tuple(row[0] for row in rows)

    def choose(self, condition: str, variant: str, choice: str, why: str) -> str:
        """Note what the selection runs of a variant chose; the first choice noted stays, and is given.

        A later one that differs (choices were added) is noted beside it: see `choices`.
        """
        with self.transaction() as connection:
            there = _choices(connection, condition, variant)
            if not there or there[-1] != choice:
                connection.execute(
                    "INSERT INTO chosen VALUES (?, ?, ?, ?, ?)", (_now(), condition, variant, choice, why)
                )
            return there[0] if there else choice

    def choices(self, condition: str, variant: str) -> tuple[str, ...]:
        """What was chosen for a variant, the first one, by which it was judged, first; then later changes."""
        with closing(self.connect()) as connection:
            return _choices(connection, condition, variant)

    def run_folder(self, cell: Cell) -> Path:
        """Where the run of a cell lies: readable, and different for different variants."""
        parts = [slug(part) for part in (cell.condition, cell.variant) if part]
        folder = self.folder.joinpath("runs", *parts)
        return (folder / "selection" / slug(cell.choice) if cell.choice else folder) / f"seed-{cell.seed}"

    def _end(self, cell: Cell, state: RunState, error: str) -> None:
        with self.transaction() as connection:
            ended = connection.execute(
                "UPDATE cells SET state = ?, finished = ?, error = ? WHERE id = ? "
                "AND state = 'running' AND pid = ? AND birth = ? AND host = ? AND started = ?",
                (state, _now(), error, cell.id, cell.pid, cell.birth, cell.host, cell.started),
            ).rowcount
            if ended != 1:
                raise UsageError(
                    f"{cell.variant}, seed {cell.seed}: this claim is over, the cell is "
                    f"{_cell(connection, cell.id).state}; claim it again before ending it"
                )
            record(connection, cell.id, state, error)

    def _reclaim(self, gone: Callable[[Cell], bool]) -> tuple[Cell, ...]:
        with self.transaction() as connection:
            dead = [cell for cell in _cells(connection, "running") if gone(cell)]
            for cell in dead:
                if (self.run_folder(cell) / "run.json").exists():
                    connection.execute(
                        "UPDATE cells SET state = 'done', finished = ? WHERE id = ?", (_now(), cell.id)
                    )
                    record(connection, cell.id, "done", "found finished")
                else:
                    self._renew(connection, cell, f"process {cell.pid} on {cell.host} is gone")
            return tuple(_cell(connection, cell.id) for cell in dead)

    def _renew(self, connection: sqlite3.Connection, cell: Cell, why: str) -> None:
        connection.execute(
            "UPDATE cells SET state = 'new', worker = '', pid = 0, birth = '', host = '', started = '', "
            "finished = '', error = '' WHERE id = ?",
            (cell.id,),
        )
        record(connection, cell.id, "new", why)

    def connect(self) -> sqlite3.Connection:
        """A connection for reading; the caller closes it."""
        path = self.folder / "study.sqlite"
        try:
            connection = sqlite3.connect(path, timeout=60, isolation_level=None)
            connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
        except sqlite3.DatabaseError as error:
            if _is_full(error):  # reading needs files of SQLite's own beside the index
                raise no_room(path) from error
            raise DataError(f"{path} cannot be read as a study's index ({error})") from error
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection that holds the index for writing; all of the block is written, or nothing.

        Raises:
            DiskFull: if there is no room.
        """
        with self._saying_when_full(), closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled it back already
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _saying_when_full(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_full(error):
                raise no_room(self.folder / "study.sqlite") from error
            raise


def slug(variant: str) -> str:
    """A folder name for a variant: its words, shortened, and a hash that tells it from all others."""
    words = re.sub(r"[^a-z0-9]+", "-", variant.lower()).strip("-")[:48].strip("-")
    return f"{words or 'variant'}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}"


def _is_full(error: sqlite3.DatabaseError) -> bool:
    """Whether SQLite could not write; the low byte of its code is the kind of error."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def record(connection: sqlite3.Connection, cell: int, what: str, detail: str) -> None:
    """Add an event; cell: its id, 0 for what is of no single cell."""
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (_now(), cell, what, detail))


def _number(connection: sqlite3.Connection, column: str, of: str, names: Sequence[str]) -> dict[str, int]:
    """Each name's number, in the order in which names came: those there keep theirs."""
    numbers = dict(connection.execute(f"SELECT {of}, MIN({column}) FROM cells GROUP BY {of}"))
    for name in names:
        numbers.setdefault(name, 1 + max(numbers.values(), default=-1))
    return numbers


def _choices(connection: sqlite3.Connection, condition: str, variant: str) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT choice FROM chosen WHERE condition = ? AND variant = ? ORDER BY rowid", (condition, variant)
    )
    return tuple(row[0] for row in rows)


def _cells(connection: sqlite3.Connection, state: str | None = None) -> tuple[Cell, ...]:
    where, values = ("", ()) if state is None else ("WHERE state = ?", (state,))
    rows = connection.execute(f"SELECT {COLUMNS} FROM cells {where} {IN_ORDER}", values)
    return tuple(Cell(*row) for row in rows)


def _cell(connection: sqlite3.Connection, cell: int) -> Cell:
    return Cell(*connection.execute(f"SELECT {COLUMNS} FROM cells WHERE id = ?", (cell,)).fetchone())
