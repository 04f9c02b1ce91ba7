"""A function run on jobs in other processes, so that a crash or a hang on one job costs that job only.

The standard library's process pool breaks as a whole when a worker dies, and cannot end one that hangs. Here
a thread owns each process and talks to it by lines of JSON: a job in, an answer out.
"""

import contextlib
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

_READY = "ready"
_CHILD = "import sys; from timelift.data.isolated import serve; serve(sys.argv[1])"


@dataclass(frozen=True)
class Lost:
    """A job without an answer, and why."""

    reason: str


def run_isolated(
    function: str, jobs: Sequence[Any], *, workers: int, timeout_seconds: Callable[[Any], float]
) -> Iterator[tuple[int, Any]]:
    """(index of the job, its answer or Lost) as they come; `function` is "module:name", JSON in and out.

    Raises:
        RuntimeError: if a worker process cannot start.
    """
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    crew = [_Worker(function) for _ in range(min(workers, len(jobs)))]

    def answer(job: Any) -> Any:
        worker = idle.get()
        try:
            return worker.ask(job, timeout_seconds(job))
        finally:
            idle.put(worker)

    for worker in crew:
        idle.put(worker)
    pool = ThreadPoolExecutor(max_workers=max(1, len(crew)))
    try:
        indices = {pool.submit(answer, job): index for index, job in enumerate(jobs)}
        for future in as_completed(indices):
            yield indices[future], future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in crew:
            worker.stop()
        pool.shutdown(wait=True)
        for worker in crew:
            worker.close()


def serve(function: str) -> None:
    """The worker process: answers each line of standard input with one line, until there is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; here it would look like a crash
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    module, name = function.split(":")
    call = getattr(importlib.import_module(module), name)
    print(_READY, file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(call(json.loads(line))), file=answers, flush=True)


class _Worker:
    """A process, started at the first job and again after a loss."""

    def __init__(self, function: str) -> None:
        self._function = function
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def ask(self, job: Any, timeout_seconds: float) -> Any:
        if not self._stopped:
            self._process = self._process or _started(self._function)
        if self._stopped or not self._process:  # asked after the start too: it takes a second
            return Lost("stopped")
        hung = threading.Event()
        timer = threading.Timer(timeout_seconds, _kill_as_hung, (self._process, hung))
        timer.start()
        line = _exchange(self._process, json.dumps(job))
        timer.cancel()
        if line:
            return json.loads(line)
        code = self.close()
        return Lost(
            f"no answer within {timeout_seconds:.0f} s" if hung.is_set() else f"crashed (exit {code})"
        )

    def stop(self) -> None:
        """From another thread: the question under way comes back as Lost."""
        self._stopped = True
        if self._process:
            self._process.kill()

    def close(self) -> int:
        """End the process, free its pipes, and give its exit code."""
        code = _ended(self._process) if self._process else 0
        self._process = None
        return code


def _kill_as_hung(process: "subprocess.Popen[str]", hung: threading.Event) -> None:
    hung.set()
    process.kill()


def _started(function: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # decoders chatter there
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        text=True,
        encoding="ascii",
    )
    assert process.stdout
    if process.stdout.readline().strip() != _READY:
        code = _ended(process)
        raise RuntimeError(f"a worker process for {function} did not start (exit code {code})")
    return process


def _exchange(process: "subprocess.Popen[str]", line: str) -> str:
    """The answer's line; empty if the process ends before it gives one."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except OSError:
        return ""
    return answer if answer.endswith("\n") else ""


def _ended(process: "subprocess.Popen[str]") -> int:
    """Close the pipes, which ends a process that waits for work, and give the exit code."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # a line that it never read
            pipe.close()  # type: ignore[union-attr]
    try:
        return process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
