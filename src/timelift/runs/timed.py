"""What a study's runs cost in time on this machine, measured with a few steps of each kind of run."""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from timelift.comparison.axes import Condition
from timelift.comparison.study import Study
from timelift.comparison.study_file import parse_study
from timelift.data.cache import open_frames
from timelift.memory import keep_memory
from timelift.records import Manifest, TimeliftError
from timelift.runs.data import PreparedData
from timelift.runs.devices import cores, gpus, worker_devices
from timelift.runs.kinds import kinds_of
from timelift.runs.one_cell import own_videos, study_data
from timelift.runs.train_one import Cell, fit
from timelift.runs.worker import end_with

SECONDS = 3.0  # of steps that are timed, for each kind of run
_STEPS = 16  # batches to draw timed steps from
_JUDGED = 20  # test videos


@dataclass(frozen=True)
class Timed:
    """Seconds of one kind of run, its steps with the ends of epochs between them."""

    start: float  # to build the network
    step: float  # of one optimiser step
    video: float  # to judge one video


def time_all(folder: Path, workers: int, device: torch.device) -> dict[str, Timed]:
    """Kind in words -> what it costs while as many processes work at once; the mean over them.

    folder: with study.toml and the scanned videos.

    Raises:
        TimeliftError: if a process failed, with its last word.
    """
    devices, threads = worker_devices(device, workers, gpus()), str(max(1, cores() // workers))
    alone = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, "-m", "timelift.runs.timed", str(folder)]
    processes = [
        subprocess.Popen(
            [*command, str(where), threads, str(os.getpid())],
            env=os.environ | alone,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for where in devices
    ]
    try:
        told = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, complaint) in zip(processes, told, strict=True):
        if process.returncode != 0:
            raise TimeliftError((complaint.strip().splitlines() or ["a timing process gave no word"])[-1])
    return _means([json.loads(answer.splitlines()[-1]) for answer, _ in told])


def _means(answers: list[dict[str, dict[str, float]]]) -> dict[str, Timed]:
    return {
        kind: Timed(
            *(sum(one[kind][f.name] for one in answers) / len(answers) for f in dataclasses.fields(Timed))
        )
        for kind in answers[0]
    }


def timed_videos(study: Study, data: PreparedData, condition: Condition) -> Manifest:
    """The training videos that timed steps take at a condition, and a few test videos."""
    here = study.at(condition)
    own = own_videos(here, data, 0)
    batch = here.recipe.training.batch_size * here.recipe.training.accumulate
    train, test = own.of_split("train").videos, own.of_split("test").videos
    kept = {v.name for v in (*train[:: _every(train, _STEPS * batch)], *test[:: _every(test, _JUDGED)])}
    return own.with_videos(video for video in own.videos if video.name in kept)


def _every(videos: tuple, most: int) -> int:
    return -(-len(videos) // most) or 1


def time_run(cell: Cell, seconds: float = SECONDS) -> Timed:
    """Train for a few steps, twice: the first warms up; then judge a few videos."""
    with tempfile.TemporaryDirectory() as folder:
        steps = 1
        for name in ("warm", "timed"):
            began = time.monotonic()
            fitted = fit(_with_steps(cell, steps), Path(folder) / name, None)
            training = sum(row.seconds for row in fitted.result.history)
            start, step = time.monotonic() - began - training, training / steps
            steps = max(2, min(1000, round(seconds / max(step, 1e-6))))
        test = cell.data.manifest.of_split("test")
        fitted.judge.predictions(fitted.model, test)
        began = time.monotonic()
        fitted.judge.predictions(fitted.model, test)
    return Timed(start, step, (time.monotonic() - began) / len(test.videos))


def _with_steps(cell: Cell, steps: int) -> Cell:
    training = dataclasses.replace(cell.recipe.training, steps=steps)
    return dataclasses.replace(cell, recipe=dataclasses.replace(cell.recipe, training=training))


def _measured(folder: Path, device: torch.device) -> dict[str, dict[str, float]]:
    study = parse_study(folder / "study.toml")
    data = study_data(study, folder)
    videos = {str(condition): timed_videos(study, data, condition) for condition in study.conditions}
    found: dict[str, dict[str, float]] = {}
    for condition, kind in kinds_of(study):
        if str(kind) not in found:
            manifest = videos[str(condition)]
            frames, _ = open_frames(manifest, kind.recipe.clip)
            cell = Cell(kind.variant, 0, kind.recipe, _without_val(data, manifest), frames, device)
            found[str(kind)] = dataclasses.asdict(time_run(cell))
    return found


def _without_val(data: PreparedData, manifest: Manifest) -> PreparedData:
    return dataclasses.replace(
        data, manifest=manifest.with_videos(v for v in manifest.videos if v.split != "val")
    )


def main() -> None:
    """`python -m timelift.runs.timed FOLDER DEVICE THREADS PARENT`: prints kind -> seconds as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("device", type=torch.device)
    parser.add_argument("threads", type=int)
    parser.add_argument("parent", type=int)
    told = parser.parse_args()
    end_with(told.parent)
    keep_memory()
    torch.set_num_threads(told.threads)
    try:
        print(json.dumps(_measured(told.folder, told.device)))
    except TimeliftError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
