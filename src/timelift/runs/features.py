"""Features of a data set's videos by a run's network, or by one that starts from pretrained weights."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from timelift.data.dataset import EvaluationClips
from timelift.data.frames import DecodedOnDemand
from timelift.evaluation.layer import layer_features
from timelift.lifting import VideoModel
from timelift.networks.weights import classifier_names
from timelift.records import ClipFormat, Manifest, Recipe, UsageError, Views
from timelift.records.features import Features
from timelift.records.recipe import recipe_to_dict
from timelift.runs.pixels import Normalise, with_pixels_of
from timelift.runs.saved import MODEL, load
from timelift.runs.train_one import data_digest
from timelift.variants import build_variant, parse_variant


def network_of(run_or_variant: str, classes: int, clip: ClipFormat) -> tuple[VideoModel, ClipFormat, str]:
    """The network, the clips it takes, and what to call it; clip: for a variant, a run has its own.

    Raises:
        UsageError: for what is neither a run's folder nor a variant.
    """
    if (Path(run_or_variant) / MODEL).is_file():
        model = load(run_or_variant)
        return model, model.transform.clip, run_or_variant
    variant = parse_variant(run_or_variant)
    model = build_variant(variant, classes, clip.in_channels, clip.frames, clip.size).eval()
    facts = getattr(model.image_net, "image_facts", None)
    if facts is not None and not facts.pretrained:
        raise UsageError(
            f"{variant} starts from random weights, and its features would be others next time: give a "
            "pretrained network, or a run's folder"
        )
    return model, with_pixels_of(clip, facts), str(variant)


def take_features(
    run_or_variant: str,
    manifest: Manifest,
    layer: str,
    clip: ClipFormat,
    views: Views,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """One row a video of the manifest.

    layer: as the network's receipt names it; "": what its last layer gets.

    Raises:
        UsageError: for an unknown network or layer.
    """
    model, clip, name = network_of(run_or_variant, len(manifest.classes), clip)
    recipe = dataclasses.replace(Recipe(), clip=clip, views=views)
    rows = layer_features(
        model.to(device),
        f"image_net.{layer or classifier_names(model.image_net)[0]}",
        EvaluationClips(manifest, recipe, DecodedOnDemand(manifest, clip)),
        normalise=Normalise(clip.mean, clip.std),  # type: ignore[arg-type]
        device=device,
        progress=progress,
        before=not layer,
    )
    return Features(
        videos=tuple(video.name for video in manifest.videos),
        groups=tuple(video.group for video in manifest.videos),
        splits=tuple(video.split for video in manifest.videos),
        labels=np.array([manifest.label_index(video) for video in manifest.videos]),
        classes=manifest.classes,
        rows=rows,
        source=name,
        layer=layer or "the last layer's input",
        recipe=json.dumps(recipe_to_dict(recipe)),
        data_digest=data_digest(manifest),
    )
