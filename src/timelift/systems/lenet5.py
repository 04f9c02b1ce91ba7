"""LeNet-5-3D: the baseline of Ras et al. 2018, Temporal Factorization of 3D Convolutional Kernels.

5x5x5 convolutions (padding 2, then 0), ReLU, 2x2x2 max pools; then the whole map, time included, goes through
three fully connected layers of 120, 84 and `classes`.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from timelift.clip import Clipwise
from timelift.conversions import Inflate, MaxPool
from timelift.lifting import VideoModel, lift
from timelift.networks.select import named
from timelift.records.errors import UsageError


def lenet5_3d(
    classes: int = 10,
    channels: tuple[int, int] = (12, 22),
    in_channels: int = 1,
    frames: int = 30,
    size: int = 28,
) -> VideoModel:
    """LeNet-5-3D on (B, in_channels, frames, size, size), random; 375,668 parameters at the defaults.

    Raises:
        UsageError: for fewer than 12 frames or pixels, of which the pools leave nothing.
    """
    length, side = _after_pools(frames, "frames"), _after_pools(size, "size")
    first, second = channels
    features = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, first, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(first, second, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
        )
    )
    video = lift(
        features,
        Inflate(5, "random", padding="zeros") @ named("conv1"),
        Inflate(5, "random", padding="valid") @ named("conv2"),
        MaxPool(2, padding="valid") @ named("pool*"),
        example=torch.zeros(1, in_channels, size, size),
    )
    head = nn.Sequential(
        OrderedDict(
            whole_clip=Clipwise(TimeToChannels(length), "head.whole_clip"),
            flatten=nn.Flatten(),
            fc1=nn.Linear(second * length * side * side, 120),
            relu1=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu2=nn.ReLU(),
            fc3=nn.Linear(84, classes),
        )
    )
    net = nn.Sequential(OrderedDict(features=video.image_net, head=head))
    model = VideoModel(net, video.receipt, {})
    model.groups = {name: "new" for name, _ in model.named_parameters()}
    return model


def _after_pools(length: int, name: str) -> int:
    left = (length // 2 - 4) // 2
    if left < 1:
        raise UsageError(f"lenet5_3d: {name}={length}; its pools leave something of 12 or more")
    return left


class TimeToChannels(nn.Module):
    """(B, C, T, H, W) -> (B, C*T, 1, H, W): the head sees the whole clip as one map of T = `length`."""

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    def forward(self, clip: Tensor) -> Tensor:
        """Stack the frames' channels.

        Raises:
            UsageError: for a clip of another length than the head was made for.
        """
        if clip.shape[2] != self.length:
            raise UsageError(
                f"the head takes {self.length} frame(s) after the pools and got {clip.shape[2]}: "
                "the network was made for clips of another length (frames=)"
            )
        return clip.flatten(1, 2).unsqueeze(2)
