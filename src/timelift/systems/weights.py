"""Weights for a named system: our own keys, a foreign layout by its keys, or its image network's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from timelift.lifting import VideoModel
from timelift.networks.facts import facts_of
from timelift.networks.images import image_network, video_state
from timelift.networks.weights import classifier_names, fit_classes, load_strictly, plain_state, read_state
from timelift.records.errors import UsageError
from timelift.systems.system import Layout, State, System


@dataclass(frozen=True)
class Start:
    """Where a system's weights came from, and the pixels that they are used to (per channel, on 0..1)."""

    started_from: str
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))  # of torchvision's video weights


def started(
    name: str, system: System, weights: str | Path | Mapping[str, Tensor] | None, options: dict[str, Any]
) -> tuple[VideoModel, Start]:
    """The system with these weights, and where they came from.

    Raises:
        UsageError: if they cannot be had, or do not fit; with the keys that differ.
    """
    if weights is None:
        return _built(name, system, options), Start("random")
    if weights == "imagenet":
        return _from_imagenet(name, system, options)
    if weights == "kinetics400":
        layout = next((one for one in system.layouts if one.download), None)
        if layout is None:
            raise UsageError(
                f"{name} has no Kinetics-400 weights to be had: give weights=FILE or weights=None"
            )
        state = video_state(layout.download)
        model = _of_layout(name, system, layout, state, options, layout.download)
        return model, Start(f"Kinetics-400 ({layout.download})", *(layout.pixels or _KINETICS))
    given, source = (
        (weights, "a state dict")
        if isinstance(weights, Mapping)
        else (read_state(Path(weights)), Path(weights).name)
    )
    return _from_state(name, system, plain_state(given), options, source)


def _from_state(
    name: str, system: System, state: State, options: dict[str, Any], source: str
) -> tuple[VideoModel, Start]:
    layout = _layout_of(system, state)
    if layout is not None:
        model = _of_layout(name, system, layout, state, options, f"{source} ({layout.name})")
        return model, Start(f"{source}, of {layout.name}", *(layout.pixels or _KINETICS))
    if _is_of_images(state, "image_net." in next(iter(state), "")):
        if system.image is None:
            raise UsageError(f"{source} holds 2-D weights, and {name} has no image network to take them")
        pixels = system.image.pixels or _IMAGENET
        return _through_start(name, system, state, options, source), Start(f"{source} (2-D)", *pixels)
    return _loaded(name, system, state, options, source), Start(source)


def _layout_of(system: System, state: State) -> Layout | None:
    return next((layout for layout in system.layouts if layout.recognises(state)), None)


def _is_of_images(state: State, own: bool) -> bool:
    """Whether these are an image network's: convolutions of four dimensions only, under foreign keys."""
    dimensions = {tensor.dim() for tensor in state.values()}
    return not own and 4 in dimensions and 5 not in dimensions


def _from_imagenet(name: str, system: System, options: dict[str, Any]) -> tuple[VideoModel, Start]:
    network = "" if system.image is None else options.get("network", system.image.network)
    if not network:
        raise UsageError(
            f"{name} has no image network with ImageNet weights: give weights=FILE or weights=None"
        )
    image = image_network(network, weights="imagenet")
    facts = facts_of(image)
    model = _through_start(name, system, image.state_dict(), options, network)
    pixels = (system.image and system.image.pixels) or (facts.mean, facts.std)
    return model, Start(f"{network}: {facts.started_from}", *pixels)


def _through_start(
    name: str, system: System, state: State, options: dict[str, Any], source: str
) -> VideoModel:
    """Built around the image network's weights; its last layer stays where the classes agree."""
    assert system.image is not None
    try:
        renamed = system.image.keys(state)
    except KeyError as error:
        raise UsageError(f"{source} does not fit {name}: key {error} is missing") from error
    return _built(name, system, options | {"image_state": renamed})


def _of_layout(
    name: str, system: System, layout: Layout, state: State, options: dict[str, Any], source: str
) -> VideoModel:
    return _loaded(name, system, layout.keys(state), {**layout.options(state), **options}, source)


def _loaded(name: str, system: System, state: State, options: dict[str, Any], source: str) -> VideoModel:
    """Built with the weights' own classes, loaded strictly, then fitted to the classes that are wanted."""
    with torch.device("meta"):
        blank = _built(name, system, options)
    last = classifier_names(blank.image_net)
    kernel = state.get(f"image_net.{last[0]}.weight")
    wanted = len(blank.get_parameter(f"image_net.{last[0]}.weight"))
    there = wanted if kernel is None else len(kernel)
    model = _built(name, system, options | {"classes": there})
    load_strictly(model, dict(state), source)
    fresh = fit_classes(model.image_net, last, wanted)
    new = {f"image_net.{tensor}" for tensor in fresh}
    model.groups = {n: "new" if n in new else "kept" for n, _ in model.named_parameters()}
    return model


def _built(name: str, system: System, options: dict[str, Any]) -> VideoModel:
    try:
        return system.build(**options)
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from error
