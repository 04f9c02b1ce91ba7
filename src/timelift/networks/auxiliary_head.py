"""The auxiliary classifier of Inception-v3 (Szegedy et al. 2016): it passes its map on, and answers beside.

5x5 average with stride 3, a 1x1 convolution, one that takes the map that is left, and a last layer. The paper
found it to regularise, and more so with batch norm or dropout in it.
"""

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

from timelift.auxiliary import answer_beside, is_asked
from timelift.networks.conv_unit import conv_unit
from timelift.records.errors import UsageError

_POOL, _STRIDE, _KERNEL = 5, 3, 5


class AuxiliaryHead(nn.Module):
    """(N, C, H, W) -> the same; in training, where somebody asks, logits for the loss on the way.

    side: height and width of the map; the second kernel is 5x5, or what the pool leaves of a smaller map, as
    in TensorFlow's release: 3x3 at 13.

    Raises:
        UsageError: for a map that the pool does not fit.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        side: int,
        norm: Literal["batch", "dropout"],
        momentum: float,
        weight: float = 0.4,
    ):
        super().__init__()
        if norm not in ("batch", "dropout"):
            raise UsageError(f"an auxiliary head with {norm!r}: there are batch and dropout")
        kernel = min(_KERNEL, (side - _POOL) // _STRIDE + 1)
        if kernel < 1:
            raise UsageError(f"the auxiliary head takes maps from {_POOL} x {_POOL}, not {side} x {side}")
        self.weight = weight
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AvgPool2d(_POOL, _STRIDE),
                reduce=_unit(channels, 128, 1, norm, momentum),
                expand=_unit(128, 768, kernel, norm, momentum),
                mean=nn.AdaptiveAvgPool2d(1),
                dropout=nn.Dropout(0.5 if norm == "dropout" else 0.0),
                flatten=nn.Flatten(),
                logits=nn.Linear(768, classes),
            )
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Pass on, and answer where that is asked."""
        if self.training and is_asked():
            answer_beside(self.head(frames), self.weight)
        return frames


def _unit(inp: int, out: int, kernel: int, norm: str, momentum: float) -> nn.Module:
    if norm == "batch":
        return conv_unit(inp, out, kernel, padded=False, momentum=momentum)
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(inp, out, kernel), act=nn.ReLU(inplace=True)))
