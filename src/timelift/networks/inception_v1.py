"""Inception-v1 with batch norm, on frames: the image network of I3D (Carreira and Zisserman 2017) and S3D.

As published with I3D, the 5x5 branch is a 3x3. The head there is a 7x7 mean with stride 1, dropout and a 1x1
convolution, whose answers are averaged over larger maps; a dense layer behind the average gives the same.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from timelift.networks.conv_unit import SamePad, SlidingMean, conv_unit, same_max_pool

MIXED = {  # 1x1 | 1x1, 3x3 | 1x1, 3x3 | behind the pool
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}


def inception_v1(
    classes: int = 1000,
    in_channels: int = 3,
    padding: Literal["same", "symmetric"] = "same",
    dropout: float = 0.0,
    momentum: float = 0.001,
) -> nn.Sequential:
    """(N, in_channels, H, W) -> (N, classes); modules conv_1a, pool_2a, conv_2b ... mixed_5c, pool, logits.

    padding: of the strided layers: "same" (TensorFlow's: I3D) or "symmetric" (torchvision's S3D).
    momentum: of the batch norms' statistics, in PyTorch's sense.
    """
    same = padding == "same"

    def unit(inp: int, out: int, kernel: int) -> nn.Sequential:
        return conv_unit(inp, out, kernel, momentum=momentum)

    def pool(kernel: int) -> nn.Module:
        return same_max_pool(kernel, 2) if same else nn.MaxPool2d(kernel, 2, padding=(kernel - 1) // 2)

    layers: OrderedDict[str, nn.Module] = OrderedDict(
        pad=SamePad(7, 2) if same else nn.Identity(),
        conv_1a=conv_unit(in_channels, 64, 7, stride=2, padded=not same, momentum=momentum),
        pool_2a=pool(3),
        conv_2b=unit(64, 64, 1),
        conv_2c=unit(64, 192, 3),
        pool_3a=pool(3),
    )
    channels = 192
    for name, widths in MIXED.items():
        if name in ("4b", "5b"):
            layers[f"pool_{name[0]}a"] = pool(3 if name == "4b" else 2)
        layers[f"mixed_{name}"] = Mixed(channels, widths, momentum)
        channels = widths[0] + widths[2] + widths[4] + widths[5]
    layers["pool"] = SlidingMean(7)
    layers["dropout"] = nn.Dropout(dropout)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["logits"] = nn.Linear(channels, classes)
    return nn.Sequential(layers)


class Mixed(nn.Module):
    """Four branches, side by side: (N, C, H, W) -> (N, C', H, W), C' the sum of their widths."""

    def __init__(self, inp: int, widths: tuple[int, ...], momentum: float):
        super().__init__()
        self.branch0 = conv_unit(inp, widths[0], 1, momentum=momentum)
        self.branch1 = _reduced(inp, widths[1], widths[2], momentum)
        self.branch2 = _reduced(inp, widths[3], widths[4], momentum)
        self.branch3 = nn.Sequential(
            OrderedDict(
                pool=nn.MaxPool2d(3, 1, padding=1),
                project=conv_unit(inp, widths[5], 1, momentum=momentum),
            )
        )

    def forward(self, frames: Tensor) -> Tensor:
        """All branches on the same map."""
        branches = (self.branch0, self.branch1, self.branch2, self.branch3)
        return torch.cat([branch(frames) for branch in branches], dim=1)


def _reduced(inp: int, middle: int, out: int, momentum: float) -> nn.Sequential:
    reduce, expand = (
        conv_unit(inp, middle, 1, momentum=momentum),
        conv_unit(middle, out, 3, momentum=momentum),
    )
    return nn.Sequential(OrderedDict(reduce=reduce, expand=expand))


_BLOCKS = dict(zip(("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"), MIXED, strict=True))
_BRANCHES = {
    "branch1": "branch0",
    "branch2.0": "branch1.reduce",
    "branch2.1": "branch1.expand",
    "branch3.0": "branch2.reduce",
    "branch3.1": "branch2.expand",
    "branch4.1": "branch3.project",
}
_UNITS = {"conv1": "conv_1a", "conv2": "conv_2b", "conv3": "conv_2c"} | {
    f"inception{block}.{branch}": f"mixed_{_BLOCKS[block]}.{ours}"
    for block in _BLOCKS
    for branch, ours in _BRANCHES.items()
}


def keys_of_googlenet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's googlenet -> `inception_v1`; its 5x5 branch is a 3x3, too.

    Its auxiliary heads, if the weights hold them, are left out: they have no place here. A key that is not
    googlenet's stays as it is, for whoever loads strictly to name it.
    """
    return {_of_googlenet(key): tensor for key, tensor in state.items() if not key.startswith("aux")}


def _of_googlenet(key: str) -> str:
    match = re.fullmatch(r"(\S+)\.(conv|bn)\.(\w+)", key)
    if match is None or match[1] not in _UNITS:
        return key.replace("fc.", "logits.")
    return f"{_UNITS[match[1]]}.{'conv' if match[2] == 'conv' else 'norm'}.{match[3]}"
