"""Several worker processes on one machine, each with its share of the threads: two of one beat one of two."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from timelift.comparison.store import Store
from timelift.records import DiskFull, TimeliftError
from timelift.records.whole import no_room
from timelift.runs.devices import cores, gpus, worker_devices
from timelift.runs.worker import FULL


class WorkerDied(TimeliftError):
    """A worker process ended, and not by itself: killed, out of memory, or broken."""


def run_workers(
    folder: Path,
    workers: int,
    device: torch.device,
    watch: Callable[[Store], None],
    every_seconds: float = 0.5,
    threads: int | None = None,
) -> None:
    """Run all new cells of the study in `workers` processes; `watch` is called while they work.

    threads: of each worker; without it they share the cores out.

    Raises:
        UsageError: for a GPU that is not there.
        WorkerDied: if a worker died without finishing or failing its cell.
        DiskFull: if a worker found no room.
    """
    store, devices = Store(folder), worker_devices(device, workers, gpus())
    threads = threads or max(1, cores() // workers)
    alone = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    logs = [folder / f"worker-{i}.log" for i in range(workers)]
    processes = []
    try:
        for i, log in enumerate(logs):
            with log.open("w") as file:
                told = [str(folder), str(devices[i]), str(threads), f"worker-{i}", str(os.getpid())]
                command = [sys.executable, "-m", "timelift.runs.worker", *told]
                processes.append(
                    subprocess.Popen(command, env=os.environ | alone, stdout=file, stderr=subprocess.STDOUT)
                )
        while any(process.poll() is None for process in processes):
            watch(store)
            time.sleep(every_seconds)
        watch(store)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    for process, log in zip(processes, logs, strict=True):
        if process.returncode != 0:
            last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
            if process.returncode == FULL:
                raise DiskFull(last) if last else no_room(folder)
            raise WorkerDied(
                f"a worker ended early (exit code {process.returncode}): {last or 'no word'}; "
                f"the log is {log}. What was finished is kept: the same command goes on from there"
            )
