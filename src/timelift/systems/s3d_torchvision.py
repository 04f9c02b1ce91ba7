"""torchvision's s3d in our keys: features.5.branch1.1.0.0.weight and its like."""

import re
from collections.abc import Mapping

from torch import Tensor

from timelift.networks.inception_v1 import MIXED
from timelift.systems.system import Layout

_BLOCKS = dict(zip((5, 6, 8, 9, 10, 11, 12, 14, 15), MIXED, strict=True))
_STEM = {0: "conv_1a", 2: "conv_2b", 3: "conv_2c"}
_BRANCHES = {
    "branch0": "branch0",
    "branch1.0": "branch1.reduce",
    "branch1.1": "branch1.expand",
    "branch2.0": "branch2.reduce",
    "branch2.1": "branch2.expand",
    "branch3.1": "branch3.project",
}
_UNITS = {(number, ""): unit for number, unit in _STEM.items()} | {
    (number, branch): f"mixed_{block}.{ours}"
    for number, block in _BLOCKS.items()
    for branch, ours in _BRANCHES.items()
}
_PLAIN = {"0": "conv", "1": "norm"}
_SEPARABLE = {
    "0.0": "on_clips.spatial.layer.conv",
    "0.1": "on_clips.spatial.layer.norm",
    "1.0": "on_clips.temporal",
    "1.1": "on_clips.behind.layer.0",
}
_SEPARABLE_UNITS = ("conv_1a", "conv_2c", ".expand")
_KEY = re.compile(r"features\.(\d+)\.((?:branch0|branch[123]\.\d)\.)?([\d.]+)\.(\w+)")


def keys_of_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's s3d -> ours, in which what has no extent in time is 2-D and the last layer a matrix.

    A key that is not torchvision's stays as it is, for whoever loads strictly to name it.
    """
    renamed = {}
    for key, tensor in state.items():
        if key.startswith("classifier.1."):
            renamed[key.replace("classifier.1", "logits")] = tensor.flatten(1) if tensor.dim() > 1 else tensor
        else:
            flat = tensor.dim() == 5 and tensor.shape[2] == 1
            renamed[_renamed(key)] = tensor.squeeze(2) if flat else tensor
    return {f"image_net.{key}": tensor for key, tensor in renamed.items()}


def _renamed(key: str) -> str:
    match = _KEY.fullmatch(key)
    unit = None if match is None else _UNITS.get((int(match[1]), (match[2] or "").rstrip(".")))
    if match is None or unit is None:
        return key
    parts = _SEPARABLE if unit.endswith(_SEPARABLE_UNITS) else _PLAIN
    return f"{unit}.{parts[match[3]]}.{match[4]}" if match[3] in parts else key


TORCHVISION = Layout(
    "torchvision's s3d",
    recognises=lambda state: "features.0.0.0.weight" in state and "classifier.1.weight" in state,
    keys=keys_of_torchvision,
    download="torchvision:s3d",
)
