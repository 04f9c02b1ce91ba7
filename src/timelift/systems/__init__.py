"""The named systems of the papers: one short file each, made of the same conversions that users have."""

import dataclasses
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from timelift.lifting import VideoModel
from timelift.networks.facts import ImageFacts
from timelift.networks.weights import classifier_names
from timelift.records.errors import UsageError
from timelift.systems import (
    c3d,
    composite_lstm,
    flow,
    fstcn,
    i3d,
    lenet5,
    lstm,
    ltc,
    mansimov,
    mansimov_lstm,
    p3d,
    r2plus1d,
    r3d,
    rcn,
    s3d,
    s3d_v3,
    slowfast,
)
from timelift.systems.system import Published, System
from timelift.systems.weights import started

_FILES: tuple[Any, ...] = (  # one file a paper: SYSTEMS and PUBLISHED
    c3d,
    composite_lstm,
    flow,
    fstcn,
    i3d,
    lenet5,
    lstm,
    ltc,
    mansimov,
    mansimov_lstm,
    p3d,
    r2plus1d,
    r3d,
    rcn,
    s3d,
    s3d_v3,
    slowfast,
)

SYSTEMS: dict[str, System] = {name: system for file in _FILES for name, system in file.SYSTEMS.items()}
PUBLISHED: tuple[Published, ...] = tuple(row for file in _FILES for row in file.PUBLISHED)


def list_models(pattern: str = "*") -> list[str]:
    """The names that `create_model` knows and that match, in order: list_models("lenet*")."""
    return sorted(name for name in SYSTEMS if fnmatchcase(name, pattern))


def create_model(
    name: str, *, weights: str | Path | Mapping[str, Tensor] | None = None, **options: Any
) -> VideoModel:
    """A system by name, with its own options: create_model("i3d", classes=101, weights="imagenet").

    weights: None (random, and the receipt says so), "imagenet" (of its image network, through the start),
        "kinetics400" (downloaded), a file, or a state dict; keys of other well-known code are recognised.
        Other `classes` than the weights' drop exactly the last layer.

    Raises:
        UsageError: for an unknown name, options that the system does not have, weights that do not fit.
    """
    if name not in SYSTEMS:
        raise UsageError(f"there is no system {name!r}; there are {', '.join(list_models())}")
    system = SYSTEMS[name]
    for option in options:
        if option not in system.takes:
            raise UsageError(
                f"{name} has no option {option!r}; it has {', '.join((*system.takes, 'weights'))}"
            )
    model, start = started(name, system, weights, options)
    if options.get("encoder"):
        told = f"{start.started_from}; LSTM: {Path(options['encoder']).name}"
        start = dataclasses.replace(start, started_from=told)
    model.receipt = dataclasses.replace(
        model.receipt, notes=(f"weights: {start.started_from}", *model.receipt.notes)
    )
    last = classifier_names(model.image_net)
    channels = int(options.get("in_channels", system.clip[0]))
    model.image_net.image_facts = ImageFacts(  # type: ignore[assignment]
        name=name,
        mean=start.mean if len(start.mean) == channels else (sum(start.mean) / len(start.mean),) * channels,
        std=start.std if len(start.std) == channels else (sum(start.std) / len(start.std),) * channels,
        input_size=(channels, *system.clip[2:]),
        started_from=start.started_from,
        classifier=last[0],
        new_parameters=frozenset(
            key.removeprefix("image_net.") for key, group in model.groups.items() if group == "new"
        ),
    )
    return model
