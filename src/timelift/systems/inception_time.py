"""What I3D and S3D share: Inception-v1 with its weights, the blocks in time, the head's pool."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.networks.inception_v1 import MIXED, inception_v1
from timelift.records.errors import UsageError
from timelift.systems.compose import take_image_weights
from timelift.systems.system import State

PLACES = ("1a", "2c", *MIXED)  # of the convolutions with a spatial kernel, from the input on


def unit_at(place: str) -> str:
    """The names of the k x k units of a place: conv_2c, mixed_4b.*.expand."""
    return f"mixed_{place}.*.expand" if place in MIXED else f"conv_{place}"


def places_in_time(places: Sequence[str], temporal_from: str, temporal_until: str | None) -> tuple[str, ...]:
    """Those that look through time: from one place on (top-heavy), strictly below another (bottom-heavy).

    Raises:
        UsageError: for a place that the network does not have.
    """
    for option, place in (("temporal_from", temporal_from), ("temporal_until", temporal_until)):
        if place is not None and place not in places:
            raise UsageError(f"{option}={place!r}: the places are {', '.join(places)}")
    end = len(places) if temporal_until is None else places.index(temporal_until)
    return tuple(places[places.index(temporal_from) : end])


def image_net(
    classes: int,
    in_channels: int,
    padding: Literal["same", "symmetric"],
    dropout: float,
    momentum: float,
    image_state: State | None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """Inception-v1, and the tensors that stay new where it takes an image network's weights.

    For other channels than its own, say the two of optical flow, its stem takes the mean over them, scaled so
    that the sum stays.
    """
    net = inception_v1(classes, in_channels, padding, dropout, momentum)
    if image_state is None:
        return net, ()
    fitted, stem = dict(image_state), "conv_1a.conv.weight"
    if stem in fitted:
        fitted[stem] = _for_channels(fitted[stem], in_channels)
    return net, take_image_weights(net, fitted, "logits")


def _for_channels(kernel: Tensor, channels: int) -> Tensor:
    before = kernel.shape[1]
    mean = kernel.mean(dim=1, keepdim=True) * (before / channels)
    return kernel if before == channels else mean.repeat(1, channels, 1, 1)


@dataclass(frozen=True)
class MeanOfTwo:
    """The head's pool, then the mean of every two neighbours in time; of one frame, where there is one."""

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The layer with the mean behind it, on clips: (B, C, T, H, W) -> (B, C', max(T - 1, 1), H', W')."""
        return nn.Sequential(OnFrames(copy.deepcopy(layer)), _MeanOfTwo())


class _MeanOfTwo(nn.Module):
    def forward(self, clip: Tensor) -> Tensor:
        """Average neighbours in time."""
        return clip if clip.shape[2] == 1 else (clip[:, :, 1:] + clip[:, :, :-1]) / 2
