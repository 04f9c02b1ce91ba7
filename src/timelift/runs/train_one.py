"""Train one variant with one seed on prepared videos, judge it on the test videos, and store the run."""

import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from timelift.data.dataset import EvaluationClips, TrainClips
from timelift.data.flow_vectors import CHANNELS as FLOW_CHANNELS
from timelift.data.frames import FrameSource
from timelift.evaluation.cost import latency, multiply_adds, parameters
from timelift.evaluation.evaluate import ALONE, Clips, Share, evaluate
from timelift.evaluation.metrics import mean_average_precision, summary, top_k
from timelift.evaluation.timeuse import backwards, frozen, shuffled, time_use
from timelift.evaluation.together import Together
from timelift.lifting import VideoModel
from timelift.networks.facts import ImageFacts
from timelift.records import Manifest, Predictions, Recipe, Run, UsageError
from timelift.records.predictions import PREDICTIONS, VALIDATION_PREDICTIONS, write_predictions
from timelift.records.run import WAITING, write_run
from timelift.records.whole import write_text_whole
from timelift.runs.data import PreparedData
from timelift.runs.pixels import Normalise, with_pixels_of
from timelift.runs.saved import save
from timelift.runs.sharing import sharing
from timelift.runs.surroundings import hardware, versions
from timelift.training.checkpoint import discard_checkpoint
from timelift.training.distributed import Processes, gather, join_processes
from timelift.training.logs import ProgressEvent
from timelift.training.loop import train
from timelift.training.order import epoch_batches
from timelift.training.result import TrainResult
from timelift.training.starts import paired_start, start_digest
from timelift.variants import build_variant, parse_variant

VALIDATION = "acc/top1/validation"  # of the chosen weights; a run made for a choice has no other metric

SEVERAL_VALIDATION = "map/validation"  # in its place where a video may show several classes


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
    row: str = ""  # the name of its row in a study's table; "": the variant
    notes: tuple[str, ...] = ()  # for the reader of the report


def train_one(
    cell: Cell, folder: Path, progress: Callable[[ProgressEvent], None] | None = None
) -> Run | None:
    """Train, judge and store; an interrupted run goes on from its checkpoint.

    Under torchrun all processes train and judge their share, and the first one stores: the others get None.

    The seed gives the start of what is drawn at random, the order and the augmentation: the same for every
    variant where shapes agree. The test videos are judged once, after the weights are chosen.
    """
    trained = fit(cell, folder, progress)
    processes = join_processes(cell.device)
    judge = dataclasses.replace(trained.judge, share=share_of(processes))
    started = time.perf_counter()
    test = cell.data.manifest.of_split("test")
    predictions = judge.predictions(trained.model, test)
    metrics = summary(predictions)
    if cell.time_check and not predictions.several:
        metrics |= judge.time_use(trained.model, test, predictions)
    metrics |= _validated(trained.result, SEVERAL_VALIDATION if predictions.several else VALIDATION)
    validation = trained.validation(judge)
    if not processes.is_first:
        return None
    run = _with_cost(_record(cell, trained, metrics, started), trained.model)
    several = bool(cell.data.manifest.separator)
    save(trained.model, trained.variant, run.classes, run.recipe.clip, folder, several)
    write_text_whole(folder / "receipt.txt", f"{trained.model.receipt}\n")
    store_run(run, predictions, folder, validation)
    discard_checkpoint(folder)
    return run


def try_one(cell: Cell, folder: Path) -> Run:
    """Train and judge on the validation videos alone, for a choice; weights and predictions are not kept."""
    trained = fit(cell, folder, None)
    started = time.perf_counter()
    answers = trained.validation(trained.judge)
    if answers is None:
        raise UsageError("there are no validation videos, by which choices are made: give some")
    run = _record(cell, trained, {VALIDATION: accuracy_of(answers)}, started)
    write_run(run, folder)
    discard_checkpoint(folder)
    return run


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network, and what judges it."""

    variant: str
    model: VideoModel
    recipe: Recipe  # with the pixels of the network
    judge: "Judge"
    started_at: str  # hash of the weights before training
    result: TrainResult
    validated: "Validated"

    def validation(self, judge: "Judge") -> Predictions | None:
        """What the chosen weights answer to the validation videos: as heard in training, or asked now."""
        val = self.validated.videos
        if not val.videos:
            return None
        heard = self.validated.answers_at(self.result.best_epoch) if judge.share.processes == 1 else None
        return heard or judge.predictions(self.model, val)


def fit(cell: Cell, folder: Path, progress: Callable[[ProgressEvent], None] | None) -> Fitted:
    """Build and train; the test videos are not opened."""
    variant = parse_variant(cell.variant)
    manifest, clip = cell.data.manifest, cell.recipe.clip
    with paired_start(cell.seed):
        model = build_variant(variant, len(manifest.classes), clip.in_channels, clip.frames, clip.size)
    started_at = start_digest(model)
    facts = getattr(model.image_net, "image_facts", None)
    _check_statistics(model, cell.recipe, facts)
    recipe = dataclasses.replace(cell.recipe, clip=with_pixels_of(clip, facts))
    normalise = Normalise(recipe.clip.mean, recipe.clip.std)  # type: ignore[arg-type]
    judge = Judge(recipe, cell.frames, normalise, cell.device)
    val = manifest.of_split("val")
    validated = Validated(judge, val)
    result = train(
        model,
        TrainClips(manifest.of_split("train"), recipe, cell.seed, cell.frames),
        recipe,
        folder,
        seed=cell.seed,
        groups=model.parameter_groups(),
        normalise=normalise,
        validate=validated if val.videos else None,
        keep_best=cell.data.selection == "validation",
        device=cell.device,
        progress=progress,
        clip_labels=_labels(manifest.of_split("train")),
    )
    return Fitted(str(variant), model, recipe, judge, started_at, result, validated)


def _check_statistics(model: VideoModel, recipe: Recipe, facts: ImageFacts | None) -> None:
    """Raise a UsageError where flow would be normalised as if it were pictures, from which nothing learns."""
    kept = recipe.training.norm_statistics == "pretrained"
    of_pictures = facts is not None and facts.started_from.startswith("ImageNet")
    norms = any(isinstance(module, _BatchNorm) for module in model.modules())
    if recipe.clip.channels == FLOW_CHANNELS and kept and of_pictures and norms:
        raise UsageError(
            "optical flow through batch norms that keep the statistics of ImageNet's pictures: set "
            "training.norm_statistics='batch', so that they learn those of flow"
        )


def _labels(manifest: Manifest) -> list[int] | None:
    """One a video; None where a video may show several classes."""
    if manifest.separator:
        return None
    return [manifest.label_index(video) for video in manifest.videos]


def _record(cell: Cell, trained: Fitted, metrics: dict[str, float], judging: float) -> Run:
    """The run's record; judging: when that began, in seconds of the performance counter."""
    manifest, result = cell.data.manifest, trained.result
    facts = getattr(trained.model.image_net, "image_facts", None)
    return Run(
        variant=cell.row or trained.variant,
        seed=cell.seed,
        recipe=trained.recipe,
        classes=manifest.classes,
        data_digest=data_digest(manifest),
        train_digest=manifest.of_split("train").digest(),
        order_digest=order_digest(manifest.of_split("train"), cell.seed),
        start_digest=trained.started_at,
        started_from=getattr(facts, "started_from", "random"),
        selection=result.selection if cell.data.selection == "validation" else cell.data.selection,
        parameters=parameters(trained.model),
        metrics=metrics,
        versions=versions(),
        hardware=hardware(cell.device),
        seconds={
            "train": result.seconds,
            "evaluate": time.perf_counter() - judging,
            WAITING: result.seconds_waiting,
        },
        notes=(*cell.notes, *result.notes),
    )


def _validated(result: TrainResult, name: str) -> dict[str, float]:
    """The validation accuracy of the chosen weights, where there are validation videos."""
    accuracy = next(row.validation_accuracy for row in result.history if row.epoch == result.best_epoch)
    return {} if accuracy is None else {name: accuracy}


def _with_cost(run: Run, model: VideoModel) -> Run:
    clip = run.recipe.clip
    shape = (clip.in_channels, clip.frames, clip.size, clip.size)
    return dataclasses.replace(run, multiply_adds=multiply_adds(model, shape), latency=latency(model, shape))


def store_run(run: Run, predictions: Predictions, folder: Path, validation: Predictions | None) -> None:
    """Predictions first, run.json last: a folder with run.json is a finished run.

    validation: of the validation videos by the chosen weights, for what is fitted on them later (`fuse`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(predictions, folder / PREDICTIONS)
    if validation is not None:
        write_predictions(validation, folder / VALIDATION_PREDICTIONS)
    write_run(run, folder)


def data_digest(manifest: Manifest) -> str:
    """Hash of the videos that judge: validation and test, in order."""
    parts = (manifest.of_split(split).digest() for split in ("val", "test"))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def order_digest(train: Manifest, seed: int) -> str:
    """Hash of the first epoch's order of the training videos; other draws follow from the seed, too."""
    (order,) = epoch_batches(len(train.videos), len(train.videos), 1, seed, epoch=1)
    return hashlib.sha256(repr([train.videos[i].name for i in order]).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Judge:
    """Answers of networks to the views of videos, as the recipe takes them."""

    recipe: Recipe
    frames: FrameSource
    normalise: Normalise
    device: torch.device
    share: Share = ALONE  # of several processes; all of them must call

    def predictions(self, model: nn.Module, manifest: Manifest) -> Predictions:
        """Of every video, once."""
        clips = EvaluationClips(manifest, self.recipe, self.frames)
        return self._evaluate(model, clips, manifest, sharing(model, manifest, self.recipe))

    def time_use(self, model: nn.Module, manifest: Manifest, ordered: Predictions) -> dict[str, float]:
        """Metrics of clips in order, shuffled, reversed and frozen."""
        clips = EvaluationClips(manifest, self.recipe, self.frames)
        others = [
            self._evaluate(model, changed, manifest)
            for changed in (shuffled(clips, seed=0), backwards(clips), frozen(clips))
        ]
        return time_use(ordered, *others).metrics()

    def _evaluate(
        self, model: nn.Module, clips: Clips, manifest: Manifest, together: Together | None = None
    ) -> Predictions:
        return evaluate(
            model,
            clips,
            manifest,
            normalise=self.normalise,
            device=self.device,
            fusion=self.recipe.views.fusion,
            share=self.share,
            together=together,
        )


@dataclass(eq=False)
class Validated:
    """Judges the validation videos after an epoch; keeps the answers of the best epoch and of the last."""

    judge: Judge
    videos: Manifest
    kept: list[tuple[int, float, Predictions]] = field(default_factory=list)  # epoch, accuracy, answers

    def __call__(self, model: nn.Module, epoch: int) -> float:
        """The accuracy after this epoch."""
        answers = self.judge.predictions(model, self.videos)
        now = epoch, accuracy_of(answers), answers
        best = max([*self.kept, now], key=lambda one: one[1])  # of equal ones the first, as training chooses
        self.kept = [now] if best is now else [best, now]
        return now[1]

    def answers_at(self, epoch: int) -> Predictions | None:
        """The answers after this epoch, if they are kept: an interrupted run has lost earlier ones."""
        return next((answers for at, _, answers in self.kept if at == epoch), None)


def accuracy_of(answers: Predictions) -> float:
    """Top-1, video level; mean average precision where a video may show several classes."""
    if answers.several:
        return mean_average_precision(answers.scores(), answers.labels)
    return top_k(answers.scores(), answers.labels, 1)


def share_of(processes: Processes) -> Share:
    """What one of the processes that torchrun started judges."""
    return Share(processes.rank, processes.count, lambda mine: gather(mine, processes))
