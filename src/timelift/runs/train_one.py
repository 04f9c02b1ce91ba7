"""Train one variant with one seed on prepared videos, judge it on the test videos, and store the run."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from timelift.data.dataset import EvaluationClips, TrainClips
from timelift.data.frames import FrameSource
from timelift.evaluation.cost import parameters
from timelift.evaluation.evaluate import Clips, evaluate
from timelift.evaluation.metrics import summary, top_k
from timelift.evaluation.timeuse import backwards, frozen, shuffled, time_use
from timelift.records import Manifest, Predictions, Recipe, Run
from timelift.records.predictions import write_predictions
from timelift.records.run import write_run
from timelift.runs.data import PreparedData
from timelift.runs.pixels import Normalise, with_pixels_of
from timelift.runs.saved import save
from timelift.runs.surroundings import hardware, versions
from timelift.training.checkpoint import discard_checkpoint
from timelift.training.distributed import join_processes
from timelift.training.logs import ProgressEvent
from timelift.training.loop import train
from timelift.variants import build_variant, parse_variant


@dataclass(frozen=True, eq=False)
class Cell:
    """Everything that one run is made of; `data.manifest` holds this run's own training videos."""

    variant: str
    seed: int
    recipe: Recipe
    data: PreparedData
    frames: FrameSource
    device: torch.device
    time_check: bool = True  # also judge shuffled, reversed and frozen clips


def train_one(
    cell: Cell, folder: Path, progress: Callable[[ProgressEvent], None] | None = None
) -> Run | None:
    """Train, judge and store; an interrupted run goes on from its checkpoint.

    Under torchrun all processes train, and the first one judges and stores: the others get None.

    The seed gives the start of what is drawn at random, the order and the augmentation: the same for every
    variant where shapes agree. The test videos are judged once, after the weights are chosen.
    """
    variant = parse_variant(cell.variant)
    manifest, clip = cell.data.manifest, cell.recipe.clip
    torch.manual_seed(cell.seed)
    model = build_variant(variant, len(manifest.classes), clip.channels, clip.frames, clip.size)
    facts = getattr(model.image_net, "image_facts", None)
    recipe = dataclasses.replace(cell.recipe, clip=with_pixels_of(clip, facts))
    normalise = Normalise(recipe.clip.mean, recipe.clip.std)  # type: ignore[arg-type]
    judge = _Judge(recipe, cell.frames, normalise, cell.device)
    validating = cell.data.selection == "validation"
    result = train(
        model,
        TrainClips(manifest.of_split("train"), recipe, cell.seed, cell.frames),
        recipe,
        folder,
        seed=cell.seed,
        groups=model.parameter_groups(),
        normalise=normalise,
        validate=(lambda net, epoch: judge.accuracy(net, manifest.of_split("val"))) if validating else None,
        device=cell.device,
        progress=progress,
    )
    if not join_processes(cell.device).is_first:
        return None
    started = time.perf_counter()
    test = manifest.of_split("test")
    predictions = judge.predictions(model, test)
    metrics = summary(predictions) | (judge.time_use(model, test, predictions) if cell.time_check else {})
    run = Run(
        variant=str(variant),
        seed=cell.seed,
        recipe=recipe,
        classes=manifest.classes,
        data_digest=data_digest(manifest),
        train_digest=manifest.of_split("train").digest(),
        started_from=getattr(facts, "started_from", "random"),
        selection=result.selection if validating else cell.data.selection,
        parameters=parameters(model),
        metrics=metrics,
        versions=versions(),
        hardware=hardware(cell.device),
        seconds={"train": result.seconds, "evaluate": time.perf_counter() - started},
        notes=result.notes,
    )
    save(model, run.variant, run.classes, recipe.clip, folder)
    (folder / "receipt.txt").write_text(f"{model.receipt}\n", encoding="utf-8")
    store_run(run, predictions, folder)
    discard_checkpoint(folder)
    return run


def store_run(run: Run, predictions: Predictions, folder: Path) -> None:
    """Predictions first, run.json last: a folder with run.json is a finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(predictions, folder / "predictions.npz")
    write_run(run, folder)


def data_digest(manifest: Manifest) -> str:
    """Hash of the videos that judge: validation and test, in order."""
    parts = (manifest.of_split(split).digest() for split in ("val", "test"))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class _Judge:
    recipe: Recipe
    frames: FrameSource
    normalise: Normalise
    device: torch.device

    def predictions(self, model: nn.Module, manifest: Manifest) -> Predictions:
        clips = EvaluationClips(manifest, self.recipe, self.frames)
        return self._evaluate(model, clips, manifest)

    def accuracy(self, model: nn.Module, manifest: Manifest) -> float:
        found = self.predictions(model, manifest)
        return top_k(found.scores(), found.labels, 1)

    def time_use(self, model: nn.Module, manifest: Manifest, ordered: Predictions) -> dict[str, float]:
        clips = EvaluationClips(manifest, self.recipe, self.frames)
        others = [
            self._evaluate(model, changed, manifest)
            for changed in (shuffled(clips, seed=0), backwards(clips), frozen(clips))
        ]
        return time_use(ordered, *others).metrics()

    def _evaluate(self, model: nn.Module, clips: Clips, manifest: Manifest) -> Predictions:
        fusion = self.recipe.views.fusion
        return evaluate(model, clips, manifest, normalise=self.normalise, device=self.device, fusion=fusion)
