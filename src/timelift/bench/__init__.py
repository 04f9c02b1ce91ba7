"""What our parts cost in time, each against its plain counterpart in the same minutes: `timelift bench`."""

from collections.abc import Callable, Iterator

from timelift.bench import transform
from timelift.bench.timing import Contest

BENCHES: dict[str, Callable[[], Iterator[Contest]]] = {"transform": transform.contests}

__all__ = ["BENCHES", "Contest"]
