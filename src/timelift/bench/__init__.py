"""What our parts cost in time, each against its plain counterpart in the same minutes: `timelift bench`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from timelift.bench import harness, replicas, transform, workers
from timelift.timing import Contest, Outcome


@dataclass(frozen=True)
class Bench:
    """timed: (turns, device) -> what came out, one after the other. turns: enough for a steady median."""

    timed: Callable[[int, torch.device], Iterator[Outcome]]
    turns: int


BENCHES = {
    "transform": Bench(transform.timed, transform.TURNS),
    "replicas": Bench(replicas.timed, replicas.TURNS),
    "workers": Bench(workers.timed, workers.TURNS),
    "harness": Bench(harness.timed, harness.TURNS),
}

__all__ = ["BENCHES", "Bench", "Contest", "Outcome"]
