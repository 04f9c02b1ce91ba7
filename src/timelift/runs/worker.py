"""A worker process of a study: claims cells until there are none. Started by `run_workers`."""

import argparse
import os
import threading
import time
import traceback
from pathlib import Path

import torch

from timelift.comparison.store import Store
from timelift.comparison.study_file import parse_study
from timelift.memory import keep_memory
from timelift.runs.one_cell import run_place, study_data, study_frames


def work(folder: Path, device: torch.device, name: str) -> None:
    """Run every new cell of the study; a failing one is recorded and does not stop the others."""
    study, store = parse_study(folder / "study.toml"), Store(folder)
    data = study_data(study, folder)
    frames, _ = study_frames(study, data)
    while (place := store.claim(name)) is not None:
        try:
            run_place(place, study, data, frames, device, store)
        except Exception:  # whatever it is, it belongs to this cell, and is shown in the report
            store.fail(place, traceback.format_exc())
        else:
            store.finish(place)


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
    work(told.folder, told.device, told.name)


if __name__ == "__main__":
    main()
