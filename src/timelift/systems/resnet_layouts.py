"""Keys of torchvision's video ResNets (r3d_18, mc3_18, r2plus1d_18) and of code that follows it -> ours."""

import re

from torch import Tensor

from timelift.systems.system import Layout, State

_WHOLE = (
    (r"^stem\.0\.", "conv1."),
    (r"^stem\.1\.", "bn1."),
    (r"\.conv(\d)\.0\.", r".conv\1."),
    (r"\.conv(\d)\.1\.", r".bn\1."),
)
_SPLIT = (
    (r"^stem\.([01])\.", r"conv1.on_clips.spatial.layer.\1."),
    (r"^stem\.3\.", "conv1.on_clips.temporal."),
    (r"^stem\.4\.", "bn1."),
    (r"\.conv(\d)\.0\.([01])\.", r".conv\1.on_clips.spatial.layer.\2."),
    (r"\.conv(\d)\.0\.3\.", r".conv\1.on_clips.temporal."),
    (r"\.conv(\d)\.1\.", r".bn\1."),
    (r"\.downsample\.0\.", r".downsample.0.on_clips.1.layer."),
)


def whole_kernels(download: str = "") -> Layout:
    """Of r3d_18 and mc3_18: 3 x k x k kernels, 1 x k x k where a group is 2-D."""
    return Layout(
        "torchvision's VideoResNet", lambda state: "layer1.0.conv1.0.weight" in state, whole_keys, download
    )


def split_kernels(download: str = "") -> Layout:
    """Of r2plus1d_18: space, norm, ReLU, time."""
    return Layout(
        "torchvision's VideoResNet, (2+1)D",
        lambda state: "layer1.0.conv1.0.0.weight" in state,
        split_keys,
        download,
        options=lambda state: {"midplanes": _reading(state)},
    )


def _reading(state: State) -> str:
    """Whose mid-planes: only a widening block's second convolution tells."""
    return "torchvision" if len(state["layer2.0.conv2.0.0.weight"]) == 230 else "vmz"


def whole_keys(state: State) -> dict[str, Tensor]:
    """The state dict of r3d_18 or mc3_18 under our keys."""
    return {f"image_net.{_whole_key(key, state)}": _on_frames(tensor) for key, tensor in state.items()}


def split_keys(state: State) -> dict[str, Tensor]:
    """The state dict of r2plus1d_18 under our keys."""
    return {f"image_net.{_renamed(key, _SPLIT)}": _on_frames(tensor) for key, tensor in state.items()}


def _whole_key(key: str, state: State) -> str:
    renamed = _renamed(key, _WHOLE)
    if _slices(state[key]) > 1:
        return renamed.replace(".weight", ".on_clips.weight")
    block, shortcut, _ = key.partition(".downsample.0.")
    if shortcut and _slices(state[f"{block}.conv1.0.weight"]) > 1:  # it follows the block's temporal stride
        return renamed.replace("downsample.0.", "downsample.0.on_clips.1.layer.")
    return renamed


def _renamed(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, ours in names:
        key = re.sub(pattern, ours, key)
    return key


def _slices(tensor: Tensor) -> int:
    return tensor.shape[2] if tensor.dim() == 5 else 1


def _on_frames(tensor: Tensor) -> Tensor:
    """A 3-D kernel of one slice is a kernel on frames."""
    return tensor.squeeze(2) if tensor.dim() == 5 and _slices(tensor) == 1 else tensor
