"""What is known of a named system beside its code: the paper, its clip, and the figures that it must meet."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from timelift.lifting import VideoModel

State = Mapping[str, Tensor]
Shape = tuple[int, int, int, int]  # a clip without its batch: (C, T, H, W)
Pixels = tuple[tuple[float, ...], tuple[float, ...]]  # mean and std, per channel, on 0..1
MINUS_ONE_TO_ONE: Pixels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class ImageStart:
    """The image network whose weights go into the system before it is lifted, through the start.

    network: as `image_network` takes it, "torchvision:resnet18"; a system's own option `network` is taken
    before it. keys: its state dict -> the keys of the network that the system lifts, last layer included.
    pixels: what the weights are used to, where the image network scales its input itself and ours does not.
    """

    network: str
    keys: Callable[[State], dict[str, Tensor]]
    pixels: Pixels | None = None


@dataclass(frozen=True)
class Layout:
    """Video weights of somebody else's code, known by their keys.

    recognises: whether a state dict is of this layout. keys: it -> the system's own keys and shapes.
    download: as "torchvision:r3d_18", where `weights="kinetics400"` can be had over the network. options: of
    the system, that the weights themselves tell; what a user says goes before.
    pixels: what the weights are used to; None: those of torchvision's video networks.
    """

    name: str
    recognises: Callable[[State], bool]
    keys: Callable[[State], dict[str, Tensor]]
    download: str = ""
    pixels: Pixels | None = None
    options: Callable[[State], Mapping[str, Any]] = lambda state: {}


@dataclass(frozen=True)
class System:
    """One named system.

    build: its options by keyword, `classes` and `in_channels` among them -> the network, random. Where
        `image` is given, `image_state` is an option too: the image network's weights, taken before the lift.
    clip: the paper's input. small: the smallest clip that a test may use, with `small_options`.
    """

    build: Callable[..., VideoModel]
    paper: str
    clip: Shape
    small: Shape
    small_options: Mapping[str, Any] = field(default_factory=dict)
    image: ImageStart | None = None
    layouts: tuple[Layout, ...] = ()

    @property
    def takes(self) -> tuple[str, ...]:
        """The options that a user may give: those that `functools.partial` has not fixed."""
        fixed = getattr(self.build, "keywords", {})
        names = inspect.signature(self.build).parameters
        return tuple(name for name in names if name not in fixed and name != "image_state")


@dataclass(frozen=True)
class Published:
    """Figures that a system must meet to the digit, with the options under which they hold.

    part: the module of the network that is counted, where it is not the whole. of: what is counted instead
    of the system's network: one that gives no classes, its 2-D twin. mega_parameters: 10^6 parameters where
    only the rounded figure is known, with two decimals. gmacs: 10^9 multiply-adds of one clip, printed with
    `decimals`; of the convolutions alone where `dense` is False. sizes: module of the network -> (T, H, W)
    behind it; (T, 1, 1) for what is no map. explained: for what the papers leave open (two readings), why
    ours differs, or which reading this is; without it a difference is an error.
    """

    system: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    part: str = ""
    of: Callable[[], nn.Module] | None = None
    mega_parameters: float | None = None
    gmacs: float | None = None
    decimals: int = 2
    dense: bool = True
    clip: Shape | None = None  # the system's own, unless it is said
    sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    explained: str = ""
