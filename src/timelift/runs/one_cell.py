"""One cell of a study: its own training videos, then trained or probed."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from timelift.comparison.store import Cell as Place
from timelift.comparison.store import Store
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.data.cache import open_frames
from timelift.data.frames import FrameSource
from timelift.data.split import balanced_subset
from timelift.records import Manifest, Run, UsageError
from timelift.records.video import read_manifest
from timelift.runs.data import PreparedData, prepared
from timelift.runs.probe_one import probe_one, probed_network
from timelift.runs.train_one import Cell, train_one

SCANNED = "data.csv"  # the scanned manifest in a study's or run's folder


def study_data(study: Study, folder: Path) -> PreparedData:
    """The study's videos, judged and split: the same answer in every process."""
    return prepared(
        read_manifest(folder / SCANNED),
        policy=study.bad_videos,
        select_by_validation=study.selection == "validation",
    )


def own_videos(study: Study, data: PreparedData, seed: int) -> Manifest:
    """The videos of run number `seed` of every variant: its training videos, and all that judge."""
    if study.videos_per_class is None:
        return data.manifest
    return balanced_subset(data.manifest, study.videos_per_class, seed if study.vary_training_videos else 0)


def study_frames(
    study: Study, data: PreparedData, progress: Callable[..., None] | None = None
) -> tuple[FrameSource, str]:
    """Where the study's frames come from, and why; the cache holds what some run sees, and no more."""
    seen = {video.path for seed in range(study.seeds) for video in own_videos(study, data, seed).videos}
    manifest = data.manifest.with_videos(v for v in data.manifest.videos if v.path in seen)
    return open_frames(manifest, study.recipe.clip, progress=progress)


def run_place(
    place: Place, study: Study, data: PreparedData, frames: FrameSource, device: torch.device, store: Store
) -> Run | None:
    """Run one claimed cell of a study into its folder."""
    manifest = own_videos(study, data, place.seed)
    cell = Cell(
        variant=place.variant,
        seed=place.seed,
        recipe=study.recipe,
        data=dataclasses.replace(data, manifest=manifest),
        frames=frames,
        device=device,
    )
    folder = store.run_folder(place.variant, place.seed)
    if place.variant != LINEAR_PROBE:
        return train_one(cell, folder)
    network = probed_network(study.variants)
    if network is None:
        raise UsageError("linear_probe: none of the variants starts from pretrained image weights")
    return probe_one(cell, network, folder)
