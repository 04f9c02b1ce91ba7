"""A worker process of a study: claims cells until there are none. Started by `run_workers`."""

import argparse
import errno
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import torch

from timelift.comparison.store import Cell as Place
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study
from timelift.memory import keep_memory
from timelift.records import DiskFull
from timelift.records.whole import has_no_room, raise_no_room
from timelift.runs.early_stop import close_rounds
from timelift.runs.one_cell import run_place, study_data, study_frames

FULL = errno.ENOSPC  # the exit code of a worker that found no room


def work(folder: Path, device: torch.device, name: str) -> None:
    """Run every new cell of the study; a failing one is recorded and does not stop the others.

    Raises:
        DiskFull: if there is no room; the cell is new again, for that is not its fault.
    """
    study, store = parse_study(folder / "study.toml"), Store(folder)
    data = study_data(study, folder)
    frames, _ = study_frames(study, data)
    while (place := claimed(study, store, name)) is not None:
        try:
            run_place(place, study, data, frames, device, store)
        except Exception as error:  # whatever else it is, it belongs to this cell, and the report shows it
            if has_no_room(error):
                store.release(place, str(error))
                raise_no_room(error, store.run_folder(place))
            store.fail(place, traceback.format_exc())
        else:
            store.finish(place)


def claimed(study: Study, store: Store, name: str, every_seconds: float = 0.5) -> Place | None:
    """The next cell, waiting where what is left waits for others' runs. None: all is taken, or stopped."""
    close_rounds(study, store)
    while (place := store.claim(name)) is None and store.waits():
        time.sleep(every_seconds)
        store.reclaim_dead()
        close_rounds(study, store)
    return place


def end_with(parent: int) -> None:
    """End this process as soon as its parent is gone: a killed study leaves nothing behind that trains on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """`python -m timelift.runs.worker STUDY DEVICE THREADS NAME PARENT`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("device", type=torch.device)
    parser.add_argument("threads", type=int)
    parser.add_argument("name")
    parser.add_argument("parent", type=int)
    told = parser.parse_args()
    end_with(told.parent)
    keep_memory()
    torch.set_num_threads(told.threads)
    try:
        work(told.folder, told.device, told.name)
    except DiskFull as error:
        print(error, file=sys.stderr)
        raise SystemExit(FULL) from None


if __name__ == "__main__":
    main()
