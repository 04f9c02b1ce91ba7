"""The global average of a head that pools space and time at once, before its dropout and last layer."""

import copy
from dataclasses import dataclass

from torch import nn

from timelift.clip import OnFrames
from timelift.systems.compose import TimeMean


@dataclass(frozen=True)
class MeanOverTime:
    """The layer, a spatial pool, and the mean of its answers over the whole clip."""

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with the mean behind it, on clips: (B, C, T, H, W) -> (B, C', 1, H', W')."""
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), TimeMean())
