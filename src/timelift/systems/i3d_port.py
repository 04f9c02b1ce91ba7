"""I3D's weights in the keys of its PyTorch port: Conv3d_1a_7x7.conv3d.weight, Mixed_3b.b1a.bn ..."""

import re
from collections.abc import Mapping

from torch import Tensor

from timelift.systems.system import MINUS_ONE_TO_ONE, Layout

_BRANCHES = {
    "b0": "branch0",
    "b1a": "branch1.reduce",
    "b1b": "branch1.expand",
    "b2a": "branch2.reduce",
    "b2b": "branch2.expand",
    "b3b": "branch3.project",
}
_UNIT = re.compile(rf"(?:Conv3d_(\d\w)_\dx\d|Mixed_(\d\w)\.({'|'.join(_BRANCHES)}))\.(conv3d|bn)\.(\w+)")


def keys_of_port(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The port's keys and shapes -> our I3D's, in which 1 x 1 x 1 kernels are 2-D and the last is a matrix.

    A key that is not the port's stays as it is, for whoever loads strictly to name it.
    """
    renamed = {}
    for key, tensor in state.items():
        if key.startswith("logits.conv3d."):
            renamed[key.replace("conv3d.", "")] = tensor.flatten(1) if tensor.dim() > 1 else tensor
        elif (match := _UNIT.fullmatch(key)) is not None:
            unit = f"conv_{match[1]}" if match[1] else f"mixed_{match[2]}.{_BRANCHES[match[3]]}"
            part, kernel = _part(match[4], tensor)
            renamed[f"{unit}.{part}.{match[5]}"] = kernel
        else:
            renamed[key] = tensor
    return {f"image_net.{key}": tensor for key, tensor in renamed.items()}


def _part(part: str, tensor: Tensor) -> tuple[str, Tensor]:
    if part == "bn":
        return "norm", tensor
    pointwise = tensor.shape[2:] == (1, 1, 1)
    return ("conv", tensor.squeeze(2)) if pointwise else ("conv.on_clips", tensor)


PORT = Layout(
    "the PyTorch port of I3D",
    recognises=lambda state: "Conv3d_1a_7x7.conv3d.weight" in state,
    keys=keys_of_port,
    pixels=MINUS_ONE_TO_ONE,
)
