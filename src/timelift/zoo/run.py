"""The whole zoo: every architecture's shapes, then the numbers of those that are small enough; resumable."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from timelift.zoo.pool import Asker
from timelift.zoo.record import Results, read_results, to_line

NUMBERS_UP_TO = 60_000_000  # parameters; above, the smallest of every family that has none below


@dataclass(frozen=True)
class ZooChoices:
    """How to run it: worker processes, seconds an architecture may take, memory of one worker."""

    workers: int = 2
    limit_seconds: float = 180.0
    memory_gb: int = 9


def run_zoo(
    kind: str, names: Iterable[str], file: Path, choices: ZooChoices, watch: Callable[[int, int], None]
) -> Results:
    """All records; those that the file did not hold yet are asked for and appended.

    kind: "shapes", or "numbers" of architectures whose shapes are there. To ask again, delete the line.
    watch: told how many are done, and of how many.
    """
    known = read_results(file)
    there, wanted = (known.shapes, set(names)) if kind == "shapes" else (known.numbers, with_numbers(known))
    asked = [name for name in names if name in wanted and name not in there]
    file.parent.mkdir(parents=True, exist_ok=True)
    _ask_all(kind, asked, file, choices, watch)
    return read_results(file)


def with_numbers(known: Results) -> set[str]:
    """The lifted architectures of at most NUMBERS_UP_TO parameters, and the smallest of every family."""
    lifted = [shapes for shapes in known.shapes.values() if not shapes.error]
    small = {shapes.name for shapes in lifted if shapes.parameters <= NUMBERS_UP_TO}
    largest_first = sorted(lifted, key=lambda shapes: -shapes.parameters)
    return small | set({shapes.family: shapes.name for shapes in largest_first}.values())


def _ask_all(
    kind: str, names: list[str], file: Path, choices: ZooChoices, watch: Callable[[int, int], None]
) -> None:
    """One thread for each worker process; each record is in the file before the next is asked for."""
    lock, own = threading.Lock(), threading.local()
    askers: list[Asker] = []
    done: list[str] = []

    def ask(name: str) -> None:
        if not hasattr(own, "asker"):
            own.asker = Asker(choices.limit_seconds, choices.memory_gb, file.with_suffix(".log"))
            askers.append(own.asker)
        record = own.asker.ask(kind, name)
        with lock, file.open("a", encoding="utf-8") as lines:
            lines.write(to_line(record) + "\n")
            done.append(name)
            watch(len(done), len(names))

    try:
        with ThreadPoolExecutor(choices.workers) as threads:
            list(threads.map(ask, names))
    finally:
        for asker in askers:
            asker.close()
