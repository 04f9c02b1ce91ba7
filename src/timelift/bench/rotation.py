"""Contenders that each have a process of their own, asked in rotation: one computes, the others wait.

So none gets another's freed memory, threads or caches, and a busy machine slows all alike.
"""

import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timelift.bench.live import peak_live_bytes
from timelift.memory import keep_memory
from timelift.records import TimeliftError
from timelift.timing import Timed


@dataclass(frozen=True, eq=False)
class Call:
    """What a contender does. run: what is timed. answer: the same for the same input, whoever computes it."""

    run: Callable[[], object]
    answer: Callable[[], Sequence[Tensor]]


@dataclass(frozen=True)
class Contender:
    """One way of a thing, in a process of its own.

    build: makes the call there, so it is picklable. keeps_memory: freed blocks stay (`timelift.keep_memory`).
    flops: floating-point operations of a call, 0 if nobody counted. compared: whether its answers are those
    of the first; False for what is only a measure of the machine.
    """

    name: str
    build: Callable[[], Call]
    keeps_memory: bool = False
    flops: float = 0.0
    compared: bool = True


@dataclass(frozen=True)
class Case:
    """Contenders for one thing; the first is what the others are held against.

    tolerance: how far answers may differ, relative to the first's largest. like: a contender that says what
    its number format costs: twice its difference is allowed, if that is more. live: whether the peak of live
    tensors is measured, too.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    tolerance: float = 1e-4
    live: bool = False
    like: str = ""


@dataclass(frozen=True)
class Measured:
    """One contender at the end. difference: from the first's answers; None for the first, and for measures.

    resident_bytes: the most memory that its process held. live_bytes: the most that tensors held beyond what
    stays between calls; None where it is not measured.
    """

    contender: Contender
    timed: Timed
    difference: float | None
    resident_bytes: int
    live_bytes: int | None


@dataclass(frozen=True)
class Race:
    """A case's end. left_out: contender -> why it could not run."""

    case: Case
    measured: tuple[Measured, ...]
    left_out: dict[str, str]


def race(case: Case, turns: int, threads: int) -> Race:
    """Every contender in every turn, after an answer and a call that are not counted.

    Raises:
        TimeliftError: if the first one cannot run, or one fails on its way.
    """
    with ExitStack() as running:
        processes = [_Process(contender, threads, running) for contender in case.contenders]
        reasons = [process.reply() for process in processes]  # why it could not be built, or ""
        if reasons[0]:
            raise TimeliftError(f"{case.name}: {case.contenders[0].name} cannot run: {reasons[0]}")
        found = list(zip(processes, reasons, strict=True))
        ready = [process for process, reason in found if not reason]
        left_out = {process.contender.name: reason for process, reason in found if reason}
        answers: list[Any] = [
            process.ask("answer") if process.contender.compared else None for process in ready
        ]
        for process in ready:
            process.ask("seconds")
        seconds: list[list[float]] = [[] for _ in ready]
        for _ in range(turns):
            for process, own in zip(ready, seconds, strict=True):
                own.append(process.ask("seconds"))
        measured = [
            Measured(
                process.contender,
                Timed(process.contender.name, tuple(own), tuple(seconds[0])),
                None if answer is None or process is ready[0] else relative(answer, answers[0]),
                process.ask("resident"),
                process.ask("live") if case.live and process.contender.compared else None,
            )
            for process, own, answer in zip(ready, seconds, answers, strict=True)
        ]
    return Race(case, tuple(measured), left_out)


def relative(came: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The largest difference of any of the arrays, relative to the largest of the wanted one."""
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(came, wanted, strict=True))


class _Process:
    """A contender's process, until the block of `running` ends; its first reply is that of building."""

    def __init__(self, contender: Contender, threads: int, running: ExitStack):
        context = get_context("spawn")
        self.contender = contender
        self._connection, other = context.Pipe()
        process = context.Process(target=serve, args=(other, contender, threads), daemon=True)
        process.start()
        other.close()
        running.callback(process.join)
        running.callback(process.terminate)

    def ask(self, what: str) -> Any:
        """Ask, and wait for the reply."""
        self._connection.send(what)
        return self.reply()

    def reply(self) -> Any:
        """What `serve` sends.

        Raises:
            TimeliftError: if the process fails.
        """
        try:
            reply = self._connection.recv()
        except EOFError:
            raise TimeliftError(f"the process of {self.contender.name} died") from None
        if isinstance(reply, Exception):
            raise TimeliftError(f"{self.contender.name} failed: {reply}")
        return reply


def serve(connection: Connection, contender: Contender, threads: int) -> None:
    """In the contender's process: build its call, then answer what is asked until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks ends it
    torch.set_num_threads(threads)
    if contender.keeps_memory:
        keep_memory()
    try:
        call = contender.build()
    except Exception as error:  # a package or a processor feature that is not there
        connection.send(" ".join(str(error).split()) or type(error).__name__)
        return
    connection.send("")
    replies: dict[str, Callable[[], object]] = {
        "answer": lambda: [tensor.detach().double().cpu().numpy() for tensor in call.answer()],
        "seconds": lambda: _seconds(call.run),
        "resident": _peak_resident_bytes,
        "live": lambda: peak_live_bytes(call.run),
    }
    while True:
        try:
            connection.send(replies[connection.recv()]())
        except EOFError:
            return
        except Exception as error:
            connection.send(TimeliftError(f"{type(error).__name__}: {' '.join(str(error).split())}"))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _peak_resident_bytes() -> int:
    """Of this process alone: what Linux calls ru_maxrss begins with that of the process that started it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
