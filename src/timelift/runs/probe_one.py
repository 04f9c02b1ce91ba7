"""The row to beat: logistic regression on the frozen image network's features, mean over frames."""

import dataclasses
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.comparison.axes import placeholders
from timelift.data.dataset import EvaluationClips
from timelift.evaluation.cost import multiply_adds
from timelift.evaluation.metrics import summary
from timelift.evaluation.probe import features, linear_probe
from timelift.networks.facts import facts_of
from timelift.records import Manifest, Predictions, Run
from timelift.records.whole import whole
from timelift.runs.pixels import Normalise, with_pixels_of
from timelift.runs.surroundings import hardware, versions
from timelift.runs.train_one import Cell, data_digest, store_run
from timelift.variants import Variant, build_image, parse_variant


def probed_network(variants: tuple[str, ...]) -> str | None:
    """The first pretrained image network among the variants, as text without rules; None if there is none.

    Networks from random weights, systems, users' own files and variants with choices are not probed.
    """
    for text in variants:
        if placeholders(text):
            continue
        variant = parse_variant(text)
        if variant.is_system or ".py:" in variant.network or dict(variant.options).get("weights", "") is None:
            continue
        if facts_of(build_image(variant, classes=None)).pretrained:
            return str(dataclasses.replace(variant, rules=()))
    return None


def probe_one(cell: Cell, network: str, folder: Path) -> Run:
    """Take features of the training and test videos, fit, judge, store; features are kept beside the runs.

    network: `probed_network` of the study's variants.
    """
    started = time.perf_counter()
    variant = parse_variant(network)
    image = build_image(variant, None, cell.recipe.clip.in_channels).to(cell.device).eval()
    facts = facts_of(image)
    clip = with_pixels_of(cell.recipe.clip, facts)
    recipe = dataclasses.replace(cell.recipe, clip=clip)
    cell = dataclasses.replace(cell, recipe=recipe)
    manifest = cell.data.manifest
    train, test = manifest.of_split("train"), manifest.of_split("test")
    rows = {
        split: _features(cell, variant, image, part, folder)
        for split, part in (("train", train), ("test", test))
    }
    labels = {
        split: np.array([m.label_index(v) for v in m.videos])
        for split, m in (("train", train), ("test", test))
    }
    logits = linear_probe(
        rows["train"],
        labels["train"],
        rows["test"],
        train_groups=tuple(video.group or video.name for video in train.videos),
        seed=0,
        classes=len(manifest.classes),
    )
    predictions = Predictions(
        videos=tuple(video.name for video in test.videos),
        groups=tuple(video.group for video in test.videos),
        labels=labels["test"],
        classes=manifest.classes,
        clip_logits=logits[:, None].astype(np.float32),
    )
    run = Run(
        variant=cell.variant,
        seed=cell.seed,
        recipe=recipe,
        classes=manifest.classes,
        data_digest=data_digest(manifest),
        train_digest=train.digest(),
        started_from=f"{variant.network}: {facts.started_from}",
        selection="strength by cross-validation on the training videos",
        parameters=(rows["train"].shape[1] + 1) * len(manifest.classes),
        metrics=summary(predictions),
        versions=versions(),
        hardware=hardware(cell.device),
        seconds={"train": time.perf_counter() - started},
        multiply_adds=multiply_adds(OnFrames(image), (clip.in_channels, clip.frames, clip.size, clip.size)),
        notes=("deterministic: its spread over runs is that of the training videos",),
    )
    store_run(run, predictions, folder, None)
    return run


def _features(cell: Cell, variant: Variant, image: nn.Module, manifest: Manifest, folder: Path) -> np.ndarray:
    """(videos, D), from the file of an earlier run where the videos and views are the same."""
    clip, views = cell.recipe.clip, cell.recipe.views
    told = repr((str(variant), clip, views, manifest.digest()))
    kept = folder.parent / f"features-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npy"
    if kept.is_file():
        return np.load(kept)
    found = features(
        _Features(image, facts_of(image).classifier),
        EvaluationClips(manifest, cell.recipe, cell.frames),
        normalise=Normalise(clip.mean, clip.std),  # type: ignore[arg-type]
        device=cell.device,
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    with whole(kept, writer=str(os.getpid())) as partial, partial.open("wb") as file:
        np.save(file, found)
    return found


class _Features:
    """frames (N, C, H, W) -> what the network's last layer would see, (N, D)."""

    def __init__(self, image: nn.Module, classifier: str):
        self.image = image
        self.seen: list[Tensor] = []
        image.get_submodule(classifier).register_forward_pre_hook(lambda m, args: self.seen.append(args[0]))

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Tensor:
        self.seen.clear()
        self.image(frames)
        return self.seen[0].flatten(1)
