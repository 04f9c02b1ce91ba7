"""What a study's run costs beyond the arithmetic that it is about: against a bare loop of the same steps."""

import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from timelift.bench.lenets import TRAINING, Laid, laid_study
from timelift.data.dataset import EvaluationClips, TrainClips
from timelift.lifting import VideoModel
from timelift.runs.pixels import Normalise, with_pixels_of
from timelift.runs.train_one import Cell, fit, train_one
from timelift.timing import Contest, Outcome, measure
from timelift.training.groups import build_optimizer, complete_groups
from timelift.training.order import epoch_batches
from timelift.training.starts import paired_start
from timelift.variants import build_variant, parse_variant

TURNS = 5
SIZES = {10: 60, 50: 20}  # training videos -> epochs: 60 steps, one and three an epoch
BATCH_VIEWS = 8  # of `evaluate`
JUDGED = 4  # times: the test videos in order, shuffled, backwards, frozen


def timed(turns: int, device: torch.device) -> Iterator[Outcome]:
    """Training alone, and a whole run, for each size and LeNet: against a bare loop of the same."""
    for videos, epochs in SIZES.items():
        with laid_study(dataclasses.replace(TRAINING, epochs=epochs), videos) as laid:
            for variant in laid.study.variants:
                yield from (measure(contest, turns) for contest in contests(laid, variant, device))


def contests(laid: Laid, variant: str, device: torch.device) -> Iterator[Contest]:
    """The ways of one variant: all build the network first, and end with its trained weights."""
    cell = Cell(variant, 0, laid.study.recipe, laid.data, laid.frames, device)
    folders = (Path(mkdtemp(dir=laid.folder)) for _ in count())
    batches, views = clips_in_memory(cell)

    def bare_run() -> None:
        model = bare_training(cell, batches)
        with torch.inference_mode():
            for _ in range(JUDGED):
                for clips in views:
                    model(clips)
        _settle(device)

    def bare() -> None:
        bare_training(cell, batches)
        _settle(device)

    steps = f"{len(batches) * cell.recipe.training.epochs} steps, {len(batches)} an epoch"
    yield Contest(
        f"{variant}, {steps}", {"bare loop": bare, "training": lambda: fit(cell, next(folders), None)}
    )
    yield Contest(
        f"{variant}, {steps}, judged",
        {"bare loop and forwards": bare_run, "a study's run": _run(cell, folders)},
    )


def clips_in_memory(cell: Cell) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
    """The batches of the first epoch with their labels, and the test videos, as float on the device."""
    clip = with_pixels_of(cell.recipe.clip, None)
    normalise = Normalise(clip.mean, clip.std)  # type: ignore[arg-type]
    manifest = cell.data.manifest
    clips = TrainClips(manifest.of_split("train"), cell.recipe, cell.seed, cell.frames)
    batches = []
    for batch in epoch_batches(len(clips), cell.recipe.training.batch_size, 1, cell.seed, 1):
        drawn, labels = zip(*(clips[i] for i in batch), strict=True)
        batches.append((normalise(torch.stack(drawn).to(cell.device)), torch.tensor(labels).to(cell.device)))
    judged = EvaluationClips(manifest.of_split("test"), cell.recipe, cell.frames)
    views = torch.cat([judged[i][0] for i in range(len(judged))]).to(cell.device)
    return batches, list(normalise(views).split(BATCH_VIEWS))


def bare_training(cell: Cell, batches: list[tuple[Tensor, Tensor]]) -> VideoModel:
    """The run's optimiser steps and nothing else, over clips that are there."""
    choices, clip = cell.recipe.training, cell.recipe.clip
    classes = len(cell.data.manifest.classes)
    with paired_start(cell.seed):
        model = build_variant(parse_variant(cell.variant), classes, clip.in_channels, clip.frames, clip.size)
    model.to(cell.device).train()
    optimizer = build_optimizer(model, complete_groups(model, model.parameter_groups()), choices)
    for _ in range(choices.epochs):
        for clips, labels in batches:
            cross_entropy(model(clips), labels, label_smoothing=choices.label_smoothing).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return model.eval()


def _run(cell: Cell, folders: Iterator[Path]) -> Callable[[], object]:
    return lambda: train_one(cell, next(folders))


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # the calls return before the work is done
