"""`timelift train`: one variant on labelled videos, resumed where it stopped."""

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import (
    AllowLeaks,
    Data,
    Device,
    Limit,
    OfficialList,
    RecipeFile,
    Seed,
    Separator,
    Settings,
    chosen_recipe,
    counting,
    limited,
    needs_new,
    say,
)


def command(
    data: Data,
    variant: Annotated[str, typer.Option(help="NETWORK[(options)] RULE [@ WHERE] + RULE ...")],
    output: Annotated[Path, typer.Option(help="The folder of the run; an interrupted run there goes on.")],
    recipe: RecipeFile = None,
    settings: Settings = None,
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    allow_leaks: AllowLeaks = False,
    validation: Annotated[bool, typer.Option(help="Choose the epoch on validation videos.")] = True,
    official_list: OfficialList = 1,
    label_separator: Separator = "",
    device: Device = "auto",
    seed: Seed = 0,
    limit: Limit = None,
) -> None:
    """Train one variant on labelled videos.

    On several processes: torchrun --nproc-per-node 2 -m timelift train ... (the batch size is a process's).

    Example: timelift train videos/ --variant "timm:tf_efficientnet_lite0 Factorize(frames=3)" --output run/
    """
    from timelift.data.cache import open_frames
    from timelift.runs.data import prepared, scanned
    from timelift.runs.one_cell import SCANNED
    from timelift.runs.surroundings import pick_device
    from timelift.runs.train_one import Cell, train_one
    from timelift.training.distributed import join_processes
    from timelift.training.logs import progress_bar
    from timelift.variants import parse_variant

    needs_new(output, "run.json")
    chosen = chosen_recipe(recipe, settings)
    canonical = str(parse_variant(variant))
    where = pick_device(device)
    processes = join_processes(where)
    first = processes.is_first
    talk = say if first else (lambda line: None)
    kept = output / SCANNED
    if first:
        with counting("scanning", None) as progress:
            scanned(data, kept, official_list=official_list, progress=progress, say=talk)
    _wait_for_first(processes.count)
    manifest = scanned(data, kept, official_list=official_list, progress=None, say=lambda line: None)
    if label_separator:
        manifest = manifest.separated(label_separator)
    ready = prepared(
        limited(manifest, limit),
        policy=bad_videos,  # type: ignore[arg-type]
        select_by_validation=validation,
        allow_leaks=allow_leaks,
    )
    for note in ready.notes:
        talk(note)
    if first:
        with counting("decoding", len(ready.manifest.videos)) as progress:
            open_frames(ready.manifest, chosen.clip, progress=progress)
    _wait_for_first(processes.count)
    frames, why = open_frames(ready.manifest, chosen.clip)
    talk(why)
    cell = Cell(canonical, seed, chosen, ready, frames, where, notes=ready.notes)
    with progress_bar("training") if first else contextlib.nullcontext(None) as show:
        run = train_one(cell, output, show)
    if run is None:
        return
    for note in run.notes[len(ready.notes) :]:  # those of the data were said before
        say(note)
    for name, value in run.metrics.items():
        print(f"{name} {value:.4f}")
    if run.share_waiting is not None:
        print(f"{run.share_waiting:.1%} of the training time was spent waiting for data")
    print(f"{run.selection}; wrote {output}{os.sep}")


def _wait_for_first(processes: int) -> None:
    if processes > 1:
        import torch.distributed

        torch.distributed.barrier()
