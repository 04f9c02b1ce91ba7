"""Networks on optical flow, of two channels a field: one field, a stack of ten, and slow fusion of ten.

Stack: Simonyan and Zisserman 2014, Two-Stream Convolutional Networks. Slow fusion: Karpathy et al. 2014, here
on flow (Mansimov et al. 2015). All three on CNN-M-2048.
"""

from collections import OrderedDict

from torch import nn

from timelift.clip import Clipwise, Framewise
from timelift.conversions import Inflate, MaxPool
from timelift.lifting import VideoModel, lift
from timelift.networks.cnn_m import cnn_m_2048
from timelift.networks.select import every, named
from timelift.records.errors import UsageError
from timelift.systems.compose import TimeToChannels, all_new
from timelift.systems.system import Published, System


def flow_single(
    classes: int = 101, in_channels: int = 2, size: int = 224, dropout: float = 0.9
) -> VideoModel:
    """Every flow field alone; the answer is the mean over the clip's fields."""
    return all_new(lift(cnn_m_2048(classes, in_channels, size, dropout), Framewise() @ every))


def flow_stack(
    classes: int = 101, in_channels: int = 2, frames: int = 10, size: int = 224, dropout: float = 0.9
) -> VideoModel:
    """The `frames` fields of a clip as one frame of `frames` times the channels: one answer a clip.

    Raises:
        UsageError: for less than one field; in its forward for a clip of another length.
    """
    if frames < 1:
        raise UsageError(f"flow_stack: frames={frames}; a stack has at least one flow field")
    video = lift(cnn_m_2048(classes, in_channels * frames, size, dropout), Framewise() @ every)
    stack = Clipwise(TimeToChannels(frames), "stack")
    net = nn.Sequential(OrderedDict(stack=stack, net=video.image_net))
    return all_new(VideoModel(net, video.receipt, {}))


def flow_slow(classes: int = 101, in_channels: int = 2, size: int = 224, dropout: float = 0.9) -> VideoModel:
    """Slow fusion: conv1 over 4 fields, conv2 and conv3 over 2, each with a stride of 2 in time, not padded.

    Ten fields leave one slice behind conv3; of longer clips the answers are averaged.

    Raises:
        ClipTooShort: in its forward, for fewer than 10 fields.
    """
    video = lift(
        cnn_m_2048(classes, in_channels, size, dropout),
        Inflate(4, "random", padding="valid", stride="spatial") @ named("conv1"),
        Inflate(2, "random", padding="valid", stride="spatial") @ named("conv2"),
        Inflate(2, "random", padding="valid") @ named("conv3"),
        MaxPool(1, 2, padding="valid") @ named("relu3"),  # every second frame: conv3 has no spatial stride
    )
    return all_new(video)


_CLIP, _SMALL = (2, 10, 224, 224), (2, 10, 48, 48)

SYSTEMS = {
    "flow_single": System(
        flow_single,
        "Simonyan and Zisserman 2014: one flow field",
        clip=(2, 1, 224, 224),
        small=(2, 1, 48, 48),
        small_options={"size": 48},
    ),
    "flow_stack": System(
        flow_stack,
        "Simonyan and Zisserman 2014: a stack of 10 flow fields",
        clip=_CLIP,
        small=_SMALL,
        small_options={"size": 48},
    ),
    "flow_slow": System(
        flow_slow,
        "Karpathy et al. 2014: slow fusion, of 10 flow fields",
        clip=_CLIP,
        small=_SMALL,
        small_options={"size": 48},
    ),
}

PUBLISHED = (
    Published(
        "flow_slow",
        "Karpathy et al. 2014: 4, 2 and 1 responses in time",
        sizes={"conv1": (4, 109, 109), "conv2": (2, 26, 26), "relu3": (1, 13, 13), "pool5": (1, 6, 6)},
    ),
)
