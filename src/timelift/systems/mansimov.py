"""An ImageNet network whose first two convolutions become 3-D, in one of four starts.

Mansimov, Srivastava and Salakhutdinov 2015, Initialization Strategies of Spatio-Temporal Convolutional Neural
Networks. hidden1_conv sees 3 frames and hidden2_conv 2, neither padded, with a pool over 2 frames between
them: of 6 frames one slice is left, which the rest of the image network takes as a frame. Longer clips leave
more; their answers are averaged.
"""

from functools import partial

from torch import nn

from timelift.clip import Framewise
from timelift.conversions import Inflate, MaxPool
from timelift.conversions.inflate import Start
from timelift.lifting import VideoModel, lift
from timelift.networks.cls_net import cls_net
from timelift.networks.select import every, named
from timelift.systems.compose import all_new, take_image_weights, with_new
from timelift.systems.system import ImageStart, Published, State, System


def spatial_convnet(
    classes: int = 101,
    in_channels: int = 3,
    size: int = 224,
    hidden7: int = 2048,
    dropout: float = 0.8,
    image_state: State | None = None,
) -> VideoModel:
    """CLS_net on every frame, with hidden7 of 2048 for fine-tuning; 92,040,293 parameters at the defaults.

    image_state: CLS_net's weights in its own keys; a last layer or hidden7 of another size starts anew.
    """
    net = cls_net(classes, in_channels, size, hidden7, dropout)
    fresh = () if image_state is None else _take(net, image_state)
    video = lift(net, Framewise() @ every)
    return all_new(video) if image_state is None else with_new(video, fresh)


def mansimov(
    classes: int = 101,
    in_channels: int = 3,
    size: int = 224,
    dropout: float = 0.8,
    start: Start = "negative",
    pool_stride: int = 2,
    image_state: State | None = None,
) -> VideoModel:
    """CLS_net with its first two convolutions inflated; 92,682,917 parameters at the defaults.

    start: average (IA), scale (IS), zero (ZWI) or negative (NWI); each answers a still clip as CLS_net does.
    pool_stride: in time, of the pool between; 2 takes clips of 6 frames and more, 1 of 5 and more.

    Raises:
        ClipTooShort: in its forward, naming the shortest clip.
    """
    net = cls_net(classes, in_channels, size, 2048, dropout)
    fresh = () if image_state is None else _take(net, image_state)
    video = lift(
        net,
        Inflate(3, start, padding="valid") @ named("hidden1_conv"),
        MaxPool(2, pool_stride, padding="valid") @ named("hidden1_maxpool"),
        Inflate(2, start, padding="valid") @ named("hidden2_conv"),
    )
    return all_new(video) if image_state is None else with_new(video, fresh)


def _take(net: nn.Module, state: State) -> tuple[str, ...]:
    """Load CLS_net's weights; hidden7, of another width in the published network, stays new then."""
    own = net.state_dict()
    names = ("hidden7.weight", "hidden7.bias")
    fresh = tuple(name for name in names if name in state and state[name].shape != own[name].shape)
    return (*fresh, *take_image_weights(net, dict(state) | {name: own[name] for name in fresh}, "output"))


_FILE = ImageStart(network="", keys=dict)  # nobody hosts CLS_net's weights in PyTorch's form: a file only
_PAPER = "Mansimov et al. 2015"
_STARTS: dict[str, Start] = {"ia": "average", "is": "scale", "zwi": "zero", "nwi": "negative"}

SYSTEMS = {
    "spatial_convnet": System(
        spatial_convnet,
        f"{_PAPER}: the spatial ConvNet (CLS_net)",
        clip=(3, 1, 224, 224),
        small=(3, 1, 48, 48),
        small_options={"size": 48},
        image=_FILE,
    ),
} | {
    f"mansimov_{short}": System(
        partial(mansimov, start=start),
        f"{_PAPER}: {short.upper()} ({start})",
        clip=(3, 6, 224, 224),
        small=(3, 6, 48, 48),
        small_options={"size": 48},
        image=_FILE,
    )
    for short, start in _STARTS.items()
}


def _sizes(first: int, pooled: int, rest: int) -> dict[str, tuple[int, int, int]]:
    """Frames behind hidden1_conv, its pool and hidden2_conv; the maps are the same in 2-D and 3-D."""
    return {
        "hidden1_conv": (first, 110, 110),
        "hidden1_maxpool": (pooled, 55, 55),
        "hidden1_rnorm": (pooled, 55, 55),
        "hidden2_conv": (rest, 27, 27),
        "hidden2_conv_nin1": (rest, 27, 27),
        "hidden2_maxpool": (rest, 14, 14),
        "hidden3_conv_nin1": (rest, 14, 14),
        "hidden4_conv_nin2": (rest, 14, 14),
        "hidden5_conv": (rest, 12, 12),
        "hidden5_conv_nin2": (rest, 12, 12),
        "hidden5_maxpool": (rest, 6, 6),
    }


_CLS_NET = "CLS_net_20140801232522, its pbtxt"
_SIX = "6 frames with a pool stride of 2; the paper states neither, and 5 frames with 1 leave one slice, too"
_FIVE = "5 frames with a pool stride of 1, the other reading; the paper states neither"


def _convolutions() -> nn.Module:
    return nn.ModuleList(module for module in cls_net().modules() if isinstance(module, nn.Conv2d))


PUBLISHED = (
    Published(
        "spatial_convnet",
        _CLS_NET,
        {"classes": 1000, "hidden7": 4096, "dropout": 0.5},
        parameters=104_321_000,
        sizes=_sizes(1, 1, 1),
    ),
    Published("spatial_convnet", f"{_CLS_NET}, convolutions", parameters=7_941_120, of=_convolutions),
    Published("spatial_convnet", _PAPER, parameters=92_040_293),
    *(
        Published(f"mansimov_{short}", _PAPER, parameters=92_682_917, sizes=_sizes(4, 2, 1), explained=_SIX)
        for short in _STARTS
    ),
    Published(
        "mansimov_nwi",
        _PAPER,
        {"pool_stride": 1},
        parameters=92_682_917,
        clip=(3, 5, 224, 224),
        sizes=_sizes(3, 2, 1),
        explained=_FIVE,
    ),
)
