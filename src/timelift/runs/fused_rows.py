"""Runs of several variants fused seed by seed: run i of each with run i of the others."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from timelift.records import Predictions, Run
from timelift.runs.fuse import Member, fuse, fused_record

Answered = tuple[Run, Predictions]


def fused_seeds(
    name: str, members: Sequence[Sequence[Answered]], method: str = "mean", weights: Sequence[float] = ()
) -> list[Answered]:
    """The runs of each member fused with those of the same seed, as runs of a variant called `name`.

    A seed that not all members have is left out. With them and the members' own runs `study_table` has a row
    for the fusion, judged as any other.

    Raises:
        UsageError: for members of different videos, classes or orders, naming the difference.
    """
    return [_fused(name, of_seed, method, weights) for of_seed in at_each_seed(members)]


def at_each_seed(members: Sequence[Sequence[Answered]]) -> Iterator[tuple[Answered, ...]]:
    """Yield one run of each member, all of one seed; seeds in order."""
    found = [{run.seed: (run, answers) for run, answers in runs} for runs in members]
    for seed in sorted(set.intersection(*map(set, found))):
        yield tuple(of[seed] for of in found)


def _fused(name: str, runs: Sequence[Answered], method: str, weights: Sequence[float]) -> Answered:
    members = [Member(Path(run.variant), run, answers, None) for run, answers in runs]
    fuser, answers = fuse(members, method, weights)
    record = fused_record(fuser, members, answers, None)
    return dataclasses.replace(record, variant=name, order_digest=runs[0][0].order_digest), answers
