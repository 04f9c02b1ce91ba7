"""A worker process: reads lines "kind name", writes one line of JSON for each; started by zoo/pool.py."""

import os
import resource
import sys
from typing import TextIO

import torch

from timelift.zoo.lift_one import lift_one
from timelift.zoo.record import to_line


def main() -> None:
    """Work until the input ends; what networks print goes to the error stream."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    most = int(sys.argv[1]) * 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))  # an error of the network, not of the machine
    _answer(sys.stdin, answers)


def _answer(questions: TextIO, answers: TextIO) -> None:
    for line in questions:
        kind, name = line.split()
        print(to_line(lift_one(kind, name)), file=answers, flush=True)


if __name__ == "__main__":
    main()
