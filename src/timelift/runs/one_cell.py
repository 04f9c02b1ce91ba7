"""One cell of a study: its own training videos, then trained or probed."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from timelift.comparison.axes import Condition, Point, filled, text_of, with_fields
from timelift.comparison.store import Cell as Place
from timelift.comparison.store import Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.data.cache import open_frames
from timelift.data.frames import FrameSource
from timelift.data.split import balanced_subset, fewer_of
from timelift.records import Manifest, Run, UsageError
from timelift.records.video import read_manifest
from timelift.runs.budgets import steps_within
from timelift.runs.data import PreparedData, prepared
from timelift.runs.kinds import kind_of
from timelift.runs.probe_one import probe_one, probed_network
from timelift.runs.select_one import FIRST_SEED, chosen
from timelift.runs.train_one import Cell, train_one, try_one

SCANNED = "data.csv"  # the scanned manifest in a study's or run's folder


def study_data(study: Study, folder: Path) -> PreparedData:
    """The study's videos, judged and split: the same answer in every process."""
    data = prepared(
        read_manifest(folder / SCANNED),
        policy=study.bad_videos,
        allow_leaks=study.allow_leaks,
        select_by_validation=study.selection == "validation",
        keep_validation=study.holds_validation,
    )
    data = _fewer(data, "val", study.validation_videos, "validated on")
    return _fewer(data, "test", study.test_videos, "judged on")


def _fewer(data: PreparedData, side: str, videos: int | None, verb: str) -> PreparedData:
    """The data with so many videos of a split, and a note that says so."""
    if videos is None:
        return data
    there = len(data.manifest.of_split(side).videos)
    note = f"{verb} {videos} of {there} {side} videos, the same for all, classes as even as they go"
    return dataclasses.replace(
        data, manifest=fewer_of(data.manifest, side, videos), notes=(*data.notes, note)
    )


def own_videos(study: Study, data: PreparedData, seed: int) -> Manifest:
    """The videos of run number `seed` of every variant: its training videos, and all that judge.

    study: at one condition.
    """
    if study.videos_per_class is None:
        return data.manifest
    assert isinstance(study.videos_per_class, int)
    return balanced_subset(data.manifest, study.videos_per_class, seed if study.vary_training_videos else 0)


def seen_videos(study: Study, data: PreparedData) -> Manifest:
    """The videos that some run of the study sees."""
    seeds = [*range(study.seeds), *range(FIRST_SEED, FIRST_SEED + study.grid.runs)]
    seen = {
        video.name
        for condition in study.conditions
        for seed in seeds
        for video in own_videos(study.at(condition), data, seed).videos
    }
    return data.manifest.with_videos(video for video in data.manifest.videos if video.name in seen)


def study_frames(
    study: Study, data: PreparedData, progress: Callable[..., None] | None = None
) -> tuple[FrameSource, str]:
    """Where the study's frames come from, and why; the cache holds what some run sees, and no more.

    Conditions may differ in frames, not in pixels: what changes the decoded frames is not an axis.
    """
    return open_frames(seen_videos(study, data), study.recipe.clip, progress=progress)


@dataclass(frozen=True)
class Task:
    """A claimed cell with all that its run takes from the store, so that any machine can run it."""

    place: Place
    choice: Point
    notes: tuple[str, ...]
    folder: Path  # of the run


def task_of(place: Place, study: Study, store: Store) -> Task:
    """What a claimed cell is to do; for a run that is judged, its variant's choice is made here.

    Raises:
        UsageError: if all selection runs of the variant failed.
    """
    condition = _condition(place, study)
    if place.variant == LINEAR_PROBE:
        return Task(place, (), (), store.run_folder(place))
    if place.choice:
        choices = {text_of(choice): choice for choice in study.grid.choices(place.variant, condition)}
        return _task(place, study, store, choices[place.choice], ())
    return _task(place, study, store, *chosen(study, store, condition, place.variant))


def _task(place: Place, study: Study, store: Store, choice: Point, notes: tuple[str, ...]) -> Task:
    kind = kind_of(study, _condition(place, study), place.variant, choice)
    steps, words = steps_within(study, store.folder, kind)
    return Task(place, (*choice, *steps), (*notes, *words), store.run_folder(place))


def run_place(
    place: Place, study: Study, data: PreparedData, frames: FrameSource, device: torch.device, store: Store
) -> Run | None:
    """Run one claimed cell of a study into its folder."""
    return run_task(task_of(place, study, store), study, data, frames, device)


def run_task(
    task: Task, study: Study, data: PreparedData, frames: FrameSource, device: torch.device
) -> Run | None:
    """Run a cell into its folder; nothing but that folder is written."""
    place = task.place
    here = study.at(_condition(place, study))
    manifest = own_videos(here, data, place.seed)
    cell = Cell(
        variant=study.text_of(place.variant),
        seed=place.seed,
        recipe=here.recipe,
        data=dataclasses.replace(data, manifest=manifest),
        frames=frames,
        device=device,
        row=place.variant,
        notes=task.notes,
        time_check=study.time_runs is None or place.seed < study.time_runs,
    )
    if place.variant == LINEAR_PROBE:
        network = probed_network(study.texts)
        if network is None:
            raise UsageError("linear_probe: none of the variants starts from pretrained image weights")
        return probe_one(cell, network, task.folder)
    run = try_one if place.choice else train_one
    return run(_with(cell, task.choice), task.folder)


def _condition(place: Place, study: Study) -> Condition:
    return next(one for one in study.conditions if str(one) == place.condition)


def _with(cell: Cell, choice: Point) -> Cell:
    """The cell with a choice's values in its variant and its recipe."""
    return dataclasses.replace(
        cell, variant=filled(cell.variant, choice), recipe=with_fields(cell.recipe, choice)
    )
