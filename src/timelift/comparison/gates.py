"""Gates in a study's index: a variant's later seeds wait until a round of early stop has let them through."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from timelift.comparison.store import Store, record


@dataclass(frozen=True)
class Gate:
    """Cells of this condition and variant with a seed of `seeds` or more are not claimed."""

    condition: str
    variant: str
    seeds: int
    stopped: bool  # for good: those cells are stopped
    why: str  # what the last round found; "" before the first


def set_gates(store: Store, condition: str, variants: Iterable[str], seeds: int) -> None:
    """Put a gate before each variant that has none; a gate that is there stays where it is."""
    with store.transaction() as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO gates (condition, variant, seeds) VALUES (?, ?, ?)",
            [(condition, variant, seeds) for variant in variants],
        )


def gates(store: Store) -> tuple[Gate, ...]:
    """All gates of the study."""
    with closing(store.connect()) as connection:
        rows = connection.execute("SELECT condition, variant, seeds, stopped, why FROM gates ORDER BY rowid")
        return tuple(Gate(c, v, seeds, bool(stopped), why) for c, v, seeds, stopped, why in rows)


def move_gate(store: Store, gate: Gate, seeds: int, why: str) -> None:
    """Let seeds below `seeds` through, unless another process has moved the gate or stopped the variant."""
    with store.transaction() as connection:
        if _move(connection, gate, seeds, 0, why):
            record(connection, 0, "round", f"{gate.condition}: {gate.variant}: {why}")


def stop_at_gate(store: Store, gate: Gate, why: str) -> None:
    """Stop the variant at this gate: its new cells behind it are `stopped`, those added later too."""
    with store.transaction() as connection:
        if _move(connection, gate, gate.seeds, 1, why):
            record(connection, 0, "stopped", f"{gate.condition}: {gate.variant}: {why}")
        connection.execute(
            "UPDATE cells SET state = 'stopped' WHERE state = 'new' AND choice = '' AND condition = ? "
            "AND variant = ? AND seed >= ?",
            (gate.condition, gate.variant, gate.seeds),
        )


def lift_gates(store: Store) -> int:
    """Take all gates away and make stopped cells new: so many. The events keep what was decided."""
    with store.transaction() as connection:
        connection.execute("DELETE FROM gates")
        renewed = connection.execute("UPDATE cells SET state = 'new' WHERE state = 'stopped'").rowcount
        if renewed:
            record(connection, 0, "early stop switched off", f"{renewed} stopped cells are new")
        return renewed


def _move(connection: sqlite3.Connection, gate: Gate, seeds: int, stopped: int, why: str) -> bool:
    moved = connection.execute(
        "UPDATE gates SET seeds = ?, stopped = ?, why = ? WHERE condition = ? AND variant = ? "
        "AND seeds = ? AND stopped = 0",
        (seeds, stopped, why, gate.condition, gate.variant, gate.seeds),
    )
    return moved.rowcount == 1
