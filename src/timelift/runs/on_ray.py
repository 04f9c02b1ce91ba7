"""A study's cells on a Ray cluster: any machine computes them, this process alone touches the index.

SQLite over a network file system is not safe with many writers. So a task is told all that it needs, writes
its run's folder and nothing else, and the driver claims and ends cells. What a driver had claimed when it
died is taken up again by the next one, as with local workers; a task whose machine dies is sent to another.
"""

import logging
import math
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from timelift.comparison.store import Cell as Place
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study
from timelift.data.cache import default_folder
from timelift.data.frames import FrameSource
from timelift.memory import keep_memory
from timelift.records import DataError, DiskFull, UsageError
from timelift.records.whole import has_no_room, no_room
from timelift.runs.data import PreparedData
from timelift.runs.devices import cores
from timelift.runs.early_stop import close_rounds
from timelift.runs.one_cell import Task, run_task, study_data, study_frames, task_of

_OBJECT_STORE_BYTES = 100 * 2**20  # near the least that Ray takes: what tasks hand over is small
_TOLD = {  # Ray: no statistics sent, no warning of a change to come, tasks as urgent as local workers
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to, and what a cell takes of it."""

    slots: int  # cells at a time
    gpus: float  # of a cell; 0: it runs on a CPU

    @property
    def device(self) -> str:
        """cuda or cpu, as a task knows it: Ray shows it no other GPU than its own."""
        return "cuda" if self.gpus else "cpu"

    def __str__(self) -> str:
        """For the person who waits."""
        return f"{self.slots} at a time on Ray ({self.device})"


@dataclass(frozen=True)
class Ended:
    """How a task ended: well, with the cell's own traceback, or by what is not the cell's fault."""

    error: str = ""
    full: str = ""  # there was no room to write
    blind: str = ""  # the machine that does not see the study's folder


def connect(workers: int | None, device: str) -> Cluster:
    """Connect to the Ray cluster that is there ($RAY_ADDRESS, or one started here), or start one here.

    workers: cells at a time; by default one a CPU, or one a GPU. device: auto, cpu or cuda.

    Raises:
        UsageError: if Ray is not installed, or the cluster has no such device.
    """
    os.environ |= {name: value for name, value in _TOLD.items() if name not in os.environ}
    ray = _ray()
    try:
        ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
    except ConnectionError as error:
        if "RAY_ADDRESS" in os.environ:
            raise UsageError(
                f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: no Ray cluster answers there"
            ) from error
        ray.init(
            address="local",
            num_cpus=max(workers or 1, cores()),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    resources = ray.cluster_resources()
    return dealt(workers, device, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def disconnect() -> None:
    """Leave the cluster; one that `connect` started ends."""
    _ray().shutdown()


def dealt(workers: int | None, device: str, cpus: int, gpus: int) -> Cluster:
    """How many cells run at a time on a cluster, and the share of a GPU that each takes.

    Raises:
        UsageError: for a device that the cluster does not have, or that is not Ray's to deal out.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device} with --on ray: wanted auto, cpu or cuda; Ray deals out the GPUs")
    if device == "cuda" and not gpus:
        raise UsageError(f"--device cuda: the Ray cluster has {cpus} CPUs and no GPU")
    if device == "cpu" or not gpus:
        return Cluster(workers or max(1, cpus), 0.0)
    slots = workers or gpus
    return Cluster(slots, 1 / math.ceil(slots / gpus))


def run_on_ray(folder: Path, cluster: Cluster, watch: Callable[[Store], None]) -> None:
    """Run all new cells of the study on the cluster; `watch` is called while they run.

    Raises:
        DataError: if a machine of the cluster does not see the study's folder.
        DiskFull: if a run found no room; its cell is new again.
    """
    ray, folder, store = _ray(), folder.resolve(), Store(folder)
    study, frames = parse_study(folder / "study.toml"), str(default_folder().resolve())
    send = ray.remote(run_there).options(num_cpus=1, num_gpus=cluster.gpus, max_retries=3).remote
    running: dict[Any, Place] = {}
    try:
        while True:
            close_rounds(study, store)
            while len(running) < cluster.slots and (place := store.claim("ray")) is not None:
                if (task := _task(place, study, store)) is not None:
                    running[send(folder, _words(folder), cluster.device, frames, task)] = place
            if not running:
                if not store.waits():
                    return
                time.sleep(0.5)  # what is left waits for runs of another process of this study
                store.reclaim_dead()
                continue
            for one in ray.wait(list(running), timeout=0.5)[0]:
                _end(store, running[one], _result(ray, one))
                del running[one]
            watch(store)
    finally:
        for one, place in running.items():
            ray.cancel(one, force=True)
            store.release(place, "the study was stopped")


def run_there(folder: Path, words: str, device: str, frames: str, task: Task) -> Ended:
    """Run a cell; called by Ray on any machine, in a process that may have run others.

    words: of the study's file. frames: the folder of the cache, which a machine fills where it is its own.
    """
    if not (folder / "study.toml").is_file() or _words(folder) != words:
        return Ended(blind=os.uname().nodename)
    try:
        study, data, source = _opened(folder, words, frames)
        run_task(task, study, data, source, torch.device(device))
    except Exception as error:  # whatever else it is, it belongs to this cell, and the report shows it
        if has_no_room(error):
            return Ended(full=str(error) if isinstance(error, DiskFull) else str(no_room(task.folder)))
        return Ended(error=traceback.format_exc())
    return Ended()


@cache
def _opened(folder: Path, words: str, frames: str) -> tuple[Study, PreparedData, FrameSource]:
    """The study as a worker reads it, once a process; words: those of its file, so that a new one is read."""
    os.environ["TIMELIFT_CACHE"] = frames
    keep_memory()
    torch.set_num_threads(1)
    study = parse_study(folder / "study.toml")
    data = study_data(study, folder)
    return study, data, study_frames(study, data)[0]


def _task(place: Place, study: Study, store: Store) -> Task | None:
    try:
        return task_of(place, study, store)
    except UsageError:  # nothing was chosen for it: no run, but a failed cell
        store.fail(place, traceback.format_exc())
        return None


def _result(ray: Any, one: Any) -> Ended:
    try:
        return ray.get(one)
    except ray.exceptions.RayError as error:  # it was sent again before, as often as Ray was told to
        return Ended(error=f"Ray could not run it: {error}")


def _end(store: Store, place: Place, ended: Ended) -> None:
    if ended.full:
        raise DiskFull(ended.full)
    if ended.error:
        store.fail(place, ended.error)
    elif not ended.blind and (store.run_folder(place) / "run.json").is_file():
        store.finish(place)
    else:
        where = f"machine {ended.blind}" if ended.blind else "the machine that ran it"
        raise DataError(
            f"--on ray: {where} does not see the study's folder {store.folder} as this one does: put it on "
            "storage that all machines share, under the same path"
        )


def _words(folder: Path) -> str:
    return (folder / "study.toml").read_text(encoding="utf-8")


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError("--on ray needs the package ray: pip install 'timelift[ray]'") from error
    return ray
