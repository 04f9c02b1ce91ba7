"""A head of fully connected layers on the whole clip, time included: C3D's and LTC's."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from timelift.clip import Clipwise
from timelift.networks.flat import Flat
from timelift.systems.compose import TimeToChannels


def dense_head(
    channels: int, length: int, side: int, widths: Sequence[int], classes: int, dropout: float
) -> nn.Sequential:
    """Maps (B*length, channels, side, side) -> (B, classes).

    fc6, fc7 ... of these widths, each with ReLU and dropout behind it; then the last layer.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        whole_clip=Clipwise(TimeToChannels(length), "head.whole_clip"), flat=Flat(side)
    )
    width = channels * length * side * side
    for number, out in enumerate(widths, start=6):
        layers[f"fc{number}"] = nn.Linear(width, out)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"dropout{number}"] = nn.Dropout(dropout)
        width = out
    layers[f"fc{6 + len(widths)}"] = nn.Linear(width, classes)
    return nn.Sequential(layers)
