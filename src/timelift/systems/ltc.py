"""LTC: long clips of small frames.

Varol, Laptev and Schmid 2018, Long-term Temporal Convolutions for Action Recognition. Five convolutions of
3x3x3; the first pool is 1x2x2, the others 2x2x2, and all of them round down; fc6 and fc7 of 2048.
"""

import torch

from timelift.conversions import Inflate, MaxPool
from timelift.lifting import VideoModel, lift
from timelift.networks.select import every, named
from timelift.networks.vgg_like import behind_pools, vgg_features
from timelift.systems.compose import all_new, with_head
from timelift.systems.dense_head import dense_head
from timelift.systems.system import Published, System


def ltc(
    classes: int = 101, in_channels: int = 2, frames: int = 100, size: int = 58, dropout: float = 0.9
) -> VideoModel:
    """LTC on flow (in_channels 2) or RGB (3), random; 12,200,357 parameters at the defaults.

    Raises:
        UsageError: for fewer than 16 frames or 32 pixels, of which the pools leave nothing.
    """
    left = behind_pools("ltc", frames, size)
    features = lift(
        vgg_features(((64,), (128,), (256,), (256,), (256,)), in_channels),
        Inflate(3, "random", padding="zeros") @ every,
        MaxPool(2, padding="valid") @ named("pool[2-5]"),
        example=torch.zeros(1, in_channels, size, size),
    )
    return all_new(with_head(features, dense_head(256, *left, (2048, 2048), classes, dropout)))


SYSTEMS = {
    "ltc": System(
        ltc,
        "Varol et al. 2018: LTC",
        clip=(2, 100, 58, 58),
        small=(2, 16, 32, 32),
        small_options={"frames": 16, "size": 32},
    ),
}


def _row(
    channels: int,
    frames: int,
    size: int,
    left: tuple[int, int, int],
    parameters: int | None = None,
    gmacs: float | None = None,
) -> Published:
    """One line of the figures: what pool5 leaves is what is flattened, times 256."""
    return Published(
        "ltc",
        "Varol et al. 2018, the authors' code",
        {"in_channels": channels, "frames": frames, "size": size},
        parameters=parameters,
        gmacs=gmacs,
        clip=(channels, frames, size, size),
        sizes={"features.pool5": left},
    )


PUBLISHED = (
    _row(2, 100, 58, (6, 1, 1), 12_200_357, 30.80),
    _row(2, 100, 71, (6, 2, 2), 21_637_541, 44.81),
    _row(2, 16, 112, (1, 3, 3), 13_773_221, 18.91),
    _row(3, 100, 58, (6, 1, 1), 12_200_357 + 1728),
    _row(2, 60, 58, (3, 1, 1)),
    _row(2, 60, 71, (3, 2, 2)),
)
