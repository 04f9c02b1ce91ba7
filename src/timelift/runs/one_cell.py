"""One cell of a study: its own training videos, then trained or probed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from timelift.comparison.axes import Point, filled, text_of, with_fields
from timelift.comparison.store import Cell as Place
from timelift.comparison.store import Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.data.cache import open_frames
from timelift.data.frames import FrameSource
from timelift.data.split import balanced_subset, fewer_of
from timelift.records import Manifest, Run, UsageError
from timelift.records.video import read_manifest
from timelift.runs.data import PreparedData, prepared
from timelift.runs.probe_one import probe_one, probed_network
from timelift.runs.select_one import FIRST_SEED, chosen
from timelift.runs.train_one import Cell, train_one, try_one

SCANNED = "data.csv"  # the scanned manifest in a study's or run's folder


def study_data(study: Study, folder: Path) -> PreparedData:
    """The study's videos, judged and split: the same answer in every process."""
    chooses = any(len(study.grid.choices(v, c)) > 1 for v in study.variants for c in study.conditions)
    data = prepared(
        read_manifest(folder / SCANNED),
        policy=study.bad_videos,
        select_by_validation=study.selection == "validation",
        keep_validation=chooses,
    )
    if study.test_videos is None:
        return data
    there = len(data.manifest.of_split("test").videos)
    note = (
        f"judged on {study.test_videos} of {there} test videos, the same for all, classes as even as they go"
    )
    manifest = fewer_of(data.manifest, "test", study.test_videos)
    return dataclasses.replace(data, manifest=manifest, notes=(*data.notes, note))


def own_videos(study: Study, data: PreparedData, seed: int) -> Manifest:
    """The videos of run number `seed` of every variant: its training videos, and all that judge.

    study: at one condition.
    """
    if study.videos_per_class is None:
        return data.manifest
    assert isinstance(study.videos_per_class, int)
    return balanced_subset(data.manifest, study.videos_per_class, seed if study.vary_training_videos else 0)


def study_frames(
    study: Study, data: PreparedData, progress: Callable[..., None] | None = None
) -> tuple[FrameSource, str]:
    """Where the study's frames come from, and why; the cache holds what some run sees, and no more.

    Conditions may differ in frames, not in pixels: what changes the decoded frames is not an axis.
    """
    seeds = [*range(study.seeds), *range(FIRST_SEED, FIRST_SEED + study.grid.runs)]
    seen = {
        video.path
        for condition in study.conditions
        for seed in seeds
        for video in own_videos(study.at(condition), data, seed).videos
    }
    manifest = data.manifest.with_videos(v for v in data.manifest.videos if v.path in seen)
    return open_frames(manifest, study.recipe.clip, progress=progress)


def run_place(
    place: Place, study: Study, data: PreparedData, frames: FrameSource, device: torch.device, store: Store
) -> Run | None:
    """Run one claimed cell of a study into its folder."""
    condition = next(one for one in study.conditions if str(one) == place.condition)
    here, folder = study.at(condition), store.run_folder(place)
    manifest = own_videos(here, data, place.seed)
    cell = Cell(
        variant=place.variant,
        seed=place.seed,
        recipe=here.recipe,
        data=dataclasses.replace(data, manifest=manifest),
        frames=frames,
        device=device,
        row=place.variant,
    )
    if place.variant == LINEAR_PROBE:
        network = probed_network(study.variants)
        if network is None:
            raise UsageError("linear_probe: none of the variants starts from pretrained image weights")
        return probe_one(cell, network, folder)
    if place.choice:
        choices = {text_of(choice): choice for choice in study.grid.choices(place.variant, condition)}
        return try_one(_with(cell, choices[place.choice]), folder)
    choice, notes = chosen(study, store, condition, place.variant)
    return train_one(dataclasses.replace(_with(cell, choice), notes=notes), folder)


def _with(cell: Cell, choice: Point) -> Cell:
    """The cell with a choice's values in its variant and its recipe."""
    return dataclasses.replace(
        cell, variant=filled(cell.variant, choice), recipe=with_fields(cell.recipe, choice)
    )
