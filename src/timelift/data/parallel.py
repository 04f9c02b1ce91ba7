"""The same work on many items, in several processes."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from timelift.records import DataError

Progress = Callable[[int, int], None]  # (items done, items in all)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_processes(
    work: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Answer]:
    """The answers in the items' order; `work` is a module's function, `workers` None is one a core.

    Raises:
        DataError: if a process dies, beside whatever `work` raises; the rest of the work is then not done.
    """
    workers = min(cores() if workers is None else workers, len(items))
    if workers <= 1:
        return list(_here(work, items, progress))
    with ProcessPoolExecutor(workers, mp_context=_context(), initializer=_end_with_parent) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            _wait(futures, progress)
        except BrokenProcessPool as error:
            raise DataError("a worker process died, perhaps for lack of memory: try fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(work: Callable[[Item], Answer], items: Sequence[Item], progress: Progress | None):
    for done, item in enumerate(items, 1):
        yield work(item)
        if progress is not None:
            progress(done, len(items))


def _wait(futures: list[Future], progress: Progress | None) -> None:
    for done, future in enumerate(as_completed(futures), 1):
        future.result()
        if progress is not None:
            progress(done, len(futures))


def _context():
    # as torch's own loaders: a forked worker starts at once and needs no guarded main module
    return get_context("fork" if sys.platform == "linux" else "spawn")


def _end_with_parent() -> None:
    """A pool's workers wait for work for ever when their parent is killed; these do not."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
