"""Worker processes that may crash or hang: each question has a time limit, and a lost worker is replaced."""

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TextIO, cast

from timelift.zoo.lift_one import failure
from timelift.zoo.record import Record, from_line

WORKER = (sys.executable, "-m", "timelift.zoo.worker")


class Asker:
    """One worker process at a time, asked one architecture after another."""

    def __init__(self, limit_seconds: float, memory_gb: int, log: Path):
        self.limit_seconds = limit_seconds
        self.memory_gb = memory_gb
        self.log = log
        self._worker: subprocess.Popen[str] | None = None

    def ask(self, kind: str, name: str) -> Record:
        """The record; that of a failure where the worker died or took too long."""
        if self._worker is None or self._worker.poll() is not None:  # killed since its last answer
            self.close()
            self._worker = self._started()
        worker = self._worker
        questions, answers = cast(TextIO, worker.stdin), cast(TextIO, worker.stdout)
        print(kind, name, file=questions, flush=True)
        ready, _, _ = select.select([answers], [], [], self.limit_seconds)
        line = answers.readline() if ready else ""
        if line:
            return from_line(line)
        why = f"no answer within {self.limit_seconds:.0f} s"
        if ready:  # the end of its answers
            why = f"the worker process ended with exit code {worker.wait()}"
        self.close()
        return failure(kind, name, why)

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            with self._worker as worker:
                worker.kill()
        self._worker = None

    def _started(self) -> "subprocess.Popen[str]":
        with self.log.open("a") as log:
            return subprocess.Popen(
                [*WORKER, str(self.memory_gb)],
                env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
