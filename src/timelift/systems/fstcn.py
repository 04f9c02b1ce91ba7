"""FstCN: spatial layers first, then temporal ones.

Sun et al. 2015, Human Action Recognition using Factorized Spatio-Temporal Convolutional Networks. Four
spatial layers see the clip's middle frame and the differences of its frames; behind them one path goes on
with the frame, and one convolves the differences through time. The clips of a video are fused by the sparsity
concentration index: `views.fusion = "sci"` in the recipe.

The authors' code is not public. The layers are those of a public re-implementation, whose figures are held;
it leaves out the paper's T-P operator (`tp=True`) and takes the differences as a second input.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timelift.clip import Clipwise, OnFrames
from timelift.lifting import VideoModel, lift
from timelift.networks.flat import Flat, side_behind
from timelift.networks.select import named
from timelift.records.errors import UsageError
from timelift.systems.compose import all_new, with_head
from timelift.systems.system import Published, System

_STRIDING = ((7, 2, 6), (3, 2, 0), (5, 2, 4), (3, 2, 0), (3, 3, 0))  # what changes the map's size


def fstcn(
    classes: int = 101,
    in_channels: int = 3,
    frames: int = 16,
    size: int = 204,
    dt: int = 1,
    tp: bool = False,
    lrn: bool = False,
    dropout: float = 0.5,
) -> VideoModel:
    """FstCN on clips of `frames` frames, random; 72,711,717 parameters at the defaults.

    dt: frames of the clip between the two of a difference. tp: the T-P operator, a learned mixing of channels
    before the temporal convolutions. lrn: response norms behind the first two layers and dropout in the
    temporal one, as a variant of the same code has them.

    Raises:
        UsageError: for fewer than 2 frames or 53 pixels, of which the pools leave nothing, or dt below 1.
    """
    side = side_behind(size, _STRIDING)
    if frames < 2 or side < 1 or dt < 1:
        raise UsageError(f"fstcn: frames={frames}, size={size}, dt={dt}; wanted at least 2, 53 and 1")
    features = lift(
        _spatial_layers(in_channels, lrn),
        MiddleAndDifferences(dt) @ named("input"),
        example=torch.zeros(1, in_channels, size, size),
    )
    head = nn.Sequential(
        OrderedDict(
            paths=Clipwise(_Paths(frames // 2, side, tp, dropout, dropout if lrn else 0.0), "head.paths"),
            flat=Flat(1),
            fc=nn.Linear(4096, 2048),
            out=nn.Linear(2048, classes),
        )
    )
    return _xavier(all_new(with_head(features, head)))


@dataclass(frozen=True)
class MiddleAndDifferences:
    """In the input's place: a clip's middle frame, and behind it one difference for each of its frames."""

    dt: int = 1

    def __call__(self, layer: nn.Module) -> nn.Module:
        """The module on clips; the layer, an identity, goes."""
        return _MiddleAndDifferences(self.dt)


class _MiddleAndDifferences(nn.Module):
    def __init__(self, dt: int):
        super().__init__()
        self.dt = dt

    def forward(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, 1 + T, H, W): frame T // 2, then frame t + dt less frame t for every t.

        Past the clip's end its last frame repeats, so that the last dt differences span less time.
        """
        length = clip.shape[2]
        later = torch.arange(self.dt, self.dt + length, device=clip.device).clamp(max=length - 1)
        middle = clip[:, :, length // 2 : length // 2 + 1]
        return torch.cat([middle, clip.index_select(2, later) - clip], dim=2)


def _spatial_layers(in_channels: int, lrn: bool) -> nn.Sequential:
    """SCL1 to SCL4, on frames and differences alike."""

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) if lrn else nn.Identity()

    return nn.Sequential(
        OrderedDict(
            input=nn.Identity(),
            conv1=nn.Conv2d(in_channels, 96, 7, stride=2, padding=3),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, 2),
            norm1=norm(),
            conv2=nn.Conv2d(96, 256, 5, stride=2, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, 2),
            norm2=norm(),
            conv3=nn.Conv2d(256, 512, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(512, 512, 3, padding=1),
            relu4=nn.ReLU(),
        )
    )


class _Paths(nn.Module):
    """(B, 512, 1 + T, H, W) -> (B, 4096, 1, 1, 1): 2048 numbers of the spatial path, 2048 of the temporal."""

    def __init__(self, length: int, side: int, tp: bool, dropout: float, temporal_dropout: float):
        super().__init__()
        self.length = length
        self.spatial = _last_spatial_layer()
        self.spatial_dense = _dense(128 * side**2, side, dropout)
        self.temporal = OnFrames(_last_spatial_layer())
        self.temporal_layer = TemporalLayer(128, tp, temporal_dropout)
        self.temporal_dense = _dense(64 * length * side**2, side, dropout)

    def forward(self, clip: Tensor) -> Tensor:
        """The middle frame comes first, then the differences.

        Raises:
            UsageError: for a clip of another length than the head was made for.
        """
        length = clip.shape[2] - 1
        if length // 2 != self.length:
            raise UsageError(
                f"fstcn was made for clips of {2 * self.length} frames and got {length} (frames=)"
            )
        look = self.spatial_dense(self.spatial(clip[:, :, 0]))  # (B, 2048)
        motion = self.temporal_layer(self.temporal(clip[:, :, 1:]))  # (B, 64, T // 2, side, side)
        both = torch.cat([look, self.temporal_dense(motion.flatten(1, 2))], dim=1)
        return both[:, :, None, None, None]


def _last_spatial_layer() -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(512, 128, 3, padding=1), pool=nn.MaxPool2d(3)))


def _dense(width: int, side: int, dropout: float) -> nn.Sequential:
    """As in the re-implementation, with no activation between the layers."""
    return nn.Sequential(
        OrderedDict(
            flat=Flat(side),
            fc1=nn.Linear(width, 4096),
            dropout=nn.Dropout(dropout),
            fc2=nn.Linear(4096, 2048),
        )
    )


class TemporalLayer(nn.Module):
    """TCL: (B, C, T, H, W) -> (B, 64, T // 2, H, W); kernels of 3 and of 5 frames, side by side.

    tp: the T-P operator before them. Its T lays the maps out along time, what a k x 1 x 1 kernel sees;
    its P recombines the channels, and is learned from the identity.
    """

    def __init__(self, channels: int, tp: bool, dropout: float):
        super().__init__()
        self.recombine = nn.Conv3d(channels, channels, 1, bias=False) if tp else None
        self.short = nn.Conv3d(channels, 32, (3, 1, 1), padding=(1, 0, 0))
        self.long = nn.Conv3d(channels, 32, (5, 1, 1), padding=(2, 0, 0))
        self.pool = nn.MaxPool3d((2, 1, 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, clip: Tensor) -> Tensor:
        """Convolve through time, twice; halve the time."""
        mixed = clip if self.recombine is None else self.recombine(clip)
        both = torch.cat([self.short(mixed), self.long(mixed)], dim=1)
        return self.dropout(self.pool(both.relu()))


def _xavier(model: VideoModel) -> VideoModel:
    """The re-implementation's start (Glorot and Bengio 2010), biases 0; P is the identity."""
    for name, parameter in model.named_parameters():
        if name.endswith("recombine.weight"):
            nn.init.dirac_(parameter)
        elif name.endswith("weight"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return model


_CODE = "a public re-implementation of Sun et al. 2015"
_NO_CODE = "the paper's T-P operator adds 128 x 128; no code of the authors says how wide it is"

SYSTEMS = {
    "fstcn": System(
        fstcn,
        "Sun et al. 2015: FstCN",
        clip=(3, 16, 204, 204),
        small=(3, 4, 60, 60),
        small_options={"frames": 4, "size": 60},
    ),
}

_SIZES = {  # the middle frame and 16 differences
    "features.conv1": (17, 102, 102),
    "features.pool1": (17, 50, 50),
    "features.conv2": (17, 25, 25),
    "features.pool2": (17, 12, 12),
    "features.conv4": (17, 12, 12),
}

PUBLISHED = (
    Published("fstcn", _CODE, parameters=72_711_717, sizes=_SIZES),
    Published("fstcn", _CODE, {"lrn": True}, parameters=72_711_717, sizes=_SIZES),
    Published("fstcn", "Sun et al. 2015", {"tp": True}, parameters=72_711_717 + 128**2, explained=_NO_CODE),
)
