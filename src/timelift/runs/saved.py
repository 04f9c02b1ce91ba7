"""A trained network in a folder: weights, variant, classes, clip format; and back, in a fresh process."""

import dataclasses
import json
from pathlib import Path

from torch import Tensor, nn

from timelift.lifting import VideoModel
from timelift.records import ClipFormat, DataError
from timelift.records.recipe import parse_recipe
from timelift.records.whole import whole, write_text_whole
from timelift.runs.pixels import ClipTransform, Normalise
from timelift.variants import Variant, build_variant, parse_variant

_STARTS = ("weights", "encoder")  # a system's options that name files to start from
WEIGHTS, MODEL = "weights.safetensors", "model.json"


def save(
    model: nn.Module,
    variant: str,
    classes: tuple[str, ...],
    clip: ClipFormat,
    folder: Path,
    several_labels: bool = False,
) -> None:
    """Write what `load` needs: weights.safetensors and model.json, each whole or not at all.

    clip: with its mean and std resolved.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole(folder / WEIGHTS) as partial:
        save_file(_without_sharing(tensors), partial)
    told: dict[str, object] = {"variant": variant, "classes": list(classes), "clip": dataclasses.asdict(clip)}
    if several_labels:
        told["several_labels"] = True
    write_text_whole(folder / MODEL, json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def load(folder: Path | str) -> VideoModel:
    """The network of a run, in eval mode, with `.classes` and `.transform` (a ClipTransform).

    Raises:
        DataError: if the folder holds no finished run.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / WEIGHTS).is_file() or not (folder / MODEL).is_file():
        raise DataError(
            f"{folder} holds no trained network ({WEIGHTS} and {MODEL}): give the folder of a finished run"
        )
    told = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    clip = parse_recipe({"clip": told["clip"]}).clip
    variant = untrained(parse_variant(told["variant"]))
    model = build_variant(variant, len(told["classes"]), clip.in_channels, clip.frames, clip.size)
    model.load_state_dict(load_file(folder / WEIGHTS))
    model.classes = tuple(told["classes"])
    model.several_labels = told.get("several_labels", False)
    model.transform = ClipTransform(clip, Normalise(clip.mean, clip.std))  # type: ignore[arg-type]
    return model.eval()


def untrained(variant: Variant) -> Variant:
    """The same network from random weights, for its own to be loaded into."""
    if variant.is_system or ".py:" in variant.network:
        return dataclasses.replace(variant, options=tuple(o for o in variant.options if o[0] not in _STARTS))
    options = {**dict(variant.options), "weights": None}
    return dataclasses.replace(variant, options=tuple(options.items()))


def _without_sharing(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """safetensors refuses tensors that share memory: a layer under two names is written twice."""
    pointers = [tensor.data_ptr() for tensor in tensors.values()]
    return {name: t.clone() if pointers.count(t.data_ptr()) > 1 else t for name, t in tensors.items()}
