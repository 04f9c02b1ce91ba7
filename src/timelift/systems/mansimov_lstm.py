"""An LSTM over hidden6 of CLS_net, frame by frame or lifted (NWI + LSTM): Mansimov et al. 2015.

The classifier is that of Srivastava et al. 2015: 4096 features, an LSTM of 2048 without peepholes, classes at
every step, the mean of their probabilities.
"""

from functools import partial

import torch
from torch import nn

from timelift.conversions.inflate import Start
from timelift.lifting import VideoModel
from timelift.systems.compose import all_new, with_head
from timelift.systems.lstm import lstm_head, mean_probability, without
from timelift.systems.mansimov import mansimov, spatial_convnet
from timelift.systems.system import ImageStart, State, System

_BEHIND_HIDDEN6 = ("hidden7", "hidden7_relu", "hidden7_dropout", "output")


def spatial_convnet_lstm(
    classes: int = 101,
    in_channels: int = 3,
    size: int = 224,
    dropout: float = 0.8,
    hidden: int = 2048,
    layers: int = 1,
    peepholes: bool = False,
    image_state: State | None = None,
) -> VideoModel:
    """The spatial ConvNet's hidden6 of every frame, then the LSTM; 133,995,621 parameters at the defaults."""
    video = spatial_convnet(1000, in_channels, size, dropout=dropout, image_state=image_state)
    return _under_lstm(video, classes, hidden, layers, peepholes, random=image_state is None)


def mansimov_lstm(
    classes: int = 101,
    in_channels: int = 3,
    size: int = 224,
    dropout: float = 0.8,
    start: Start = "negative",
    pool_stride: int = 2,
    hidden: int = 2048,
    layers: int = 1,
    peepholes: bool = False,
    image_state: State | None = None,
) -> VideoModel:
    """The lifted network's hidden6 of every slice that is left of the clip, then the LSTM."""
    video = mansimov(1000, in_channels, size, dropout, start, pool_stride, image_state)
    return _under_lstm(video, classes, hidden, layers, peepholes, random=image_state is None)


def _under_lstm(
    video: VideoModel, classes: int, hidden: int, layers: int, peepholes: bool, random: bool
) -> VideoModel:
    head = lstm_head(4096, classes, hidden, layers, peepholes)
    _started(head)
    model = with_head(without(video, _BEHIND_HIDDEN6), head, mean_probability)
    return all_new(model) if random else model


@torch.no_grad()
def _started(head: nn.Sequential) -> None:
    """The published start of the classifier, for features of this size: the LSTM's input and the classes."""
    head.lstm.on_clips.lstm.layers[0].w_input.uniform_(-0.001, 0.001)  # type: ignore[union-attr, index]
    head.classes.weight.normal_(0, 0.001)  # type: ignore[union-attr, operator]
    head.classes.bias.zero_()  # type: ignore[union-attr, operator]


_FILE = ImageStart(network="", keys=dict)
_PAPER = "Mansimov et al. 2015"
_SMALL = {"size": 48, "hidden": 8}

SYSTEMS = {
    "spatial_convnet_lstm": System(
        spatial_convnet_lstm,
        f"{_PAPER}: spatial ConvNet + LSTM",
        clip=(3, 16, 224, 224),
        small=(3, 3, 48, 48),
        small_options=_SMALL,
        image=_FILE,
    ),
    "mansimov_nwi_lstm": System(
        partial(mansimov_lstm, start="negative"),
        f"{_PAPER}: NWI + LSTM",
        clip=(3, 16, 224, 224),
        small=(3, 8, 48, 48),
        small_options=_SMALL,
        image=_FILE,
    ),
}

PUBLISHED = ()
