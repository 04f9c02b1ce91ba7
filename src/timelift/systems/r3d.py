"""R2D, fR2D, MCx, rMCx and R3D: Tran et al. 2018, A Closer Look at Spatiotemporal Convolutions, section 3.

One residual network without a stem pool, whose groups conv1 (the stem) to conv5_x are 2-D or 3-D. A 3-D group
halves time where it halves the map, the stem excepted; zeros pad in time. The authors' code: VMZ.
"""

from functools import partial
from typing import Any

import torch

from timelift.conversions import Inflate
from timelift.conversions.inflate import Start
from timelift.lifting import VideoModel, lift
from timelift.networks.resnet import ResNet, draw_kernels, resnet
from timelift.networks.select import Rule, named, stages
from timelift.systems.compose import all_new, take_image_weights, with_new
from timelift.systems.over_time import MeanOverTime
from timelift.systems.resnet_layouts import whole_kernels
from timelift.systems.system import ImageStart, Published, State, System


def r2d(
    depth: int,
    frames: int = 16,
    classes: int = 400,
    in_channels: int = 3,
    start: Start | None = None,
    norm_eps: float = 1e-5,
    image_state: State | None = None,
) -> VideoModel:
    """R2D: the stem's kernel is as long as the clip, `frames` x 7 x 7, and takes time out at once.

    start: as of `grouped`. A longer clip is answered at every place of the stem, and averaged.
    """
    net = resnet(depth, classes, in_channels, norm_eps=norm_eps)
    start = _start(start, image_state)
    return _lifted(net, (Inflate(frames, start, padding="valid") @ named("conv1"),), start, image_state)


def grouped(
    depth: int,
    in_3d: tuple[int, ...],
    classes: int = 400,
    in_channels: int = 3,
    start: Start | None = None,
    norm_eps: float = 1e-5,
    image_state: State | None = None,
) -> VideoModel:
    """The groups `in_3d` of 1 (the stem) to 5 in 3-D, the others on every frame; for clips of any length.

    start: of the 3-D kernels; None is random, and "average" around an image network's weights.
    norm_eps: 1e-5 is torchvision's, for its weights; 1e-3 is that of the authors' Caffe2 code.
    """
    net = resnet(depth, classes, in_channels, norm_eps=norm_eps)
    start = _start(start, image_state)
    blocks = Inflate(3, start, padding="zeros", stride="spatial")
    rules = [Inflate(3, start, padding="zeros") @ named("conv1")] if 1 in in_3d else []
    if numbers := [group - 1 for group in in_3d if group > 1]:
        rules.append(blocks @ stages(*numbers))
    return _lifted(net, tuple(rules), start, image_state)


def _start(start: Start | None, image_state: State | None) -> Start:
    return start or ("random" if image_state is None else "average")


def _lifted(net: ResNet, rules: tuple[Rule, ...], start: Start, image_state: State | None) -> VideoModel:
    fresh = () if image_state is None else take_image_weights(net, image_state, "fc")
    example = torch.zeros(1, net.conv1.in_channels, 112, 112)
    model = lift(net, *rules, MeanOverTime() @ named("avgpool"), example=example)
    if image_state is not None:
        return with_new(model, fresh)
    if start == "random":
        draw_kernels(model)
    return all_new(model)


_PAPER = "Tran et al. 2018, section 3"
_ALL = (1, 2, 3, 4, 5)


def _system(build: Any, what: str, depth: int = 18, download: str = "") -> System:
    return System(
        build,
        f"{_PAPER}: {what}",
        clip=(3, 16, 112, 112),
        small=(3, 4, 32, 32),
        image=ImageStart(f"torchvision:resnet{depth}", dict),
        layouts=(whole_kernels(download),),
    )


def _mixed(x: int, reverse: bool) -> System:
    """MCx: 3-D below group x; rMCx: 3-D from group x."""
    in_3d = tuple(group for group in _ALL if (group >= x) == reverse)
    download = "torchvision:mc3_18" if x == 3 and not reverse else ""
    what = f"{'rMC' if reverse else 'MC'}{x}, 3-D groups {', '.join(map(str, in_3d))}"
    return _system(partial(grouped, 18, in_3d), what, download=download)


SYSTEMS = {
    "r2d_18": _system(partial(r2d, 18), "R2D"),
    "fr2d_18": _system(partial(grouped, 18, (), start=None), "fR2D"),
    **{f"mc{x}_18": _mixed(x, reverse=False) for x in (2, 3, 4, 5)},
    **{f"rmc{x}_18": _mixed(x, reverse=True) for x in (2, 3, 4, 5)},
    "r3d_18": _system(partial(grouped, 18, _ALL), "R3D", download="torchvision:r3d_18"),
    "r3d_34": _system(partial(grouped, 34, _ALL), "R3D", depth=34),
}

_VMZ = {  # parameters; GMAC of 8 and of 16 frames; frames behind conv1 ... conv5_x, of 16
    "fr2d_18": (11_381_712, 13.80, 27.60, (16, 16, 16, 16, 16)),
    "mc2_18": (11_400_528, 14.27, 28.55, (16, 16, 16, 16, 16)),
    "mc3_18": (11_695_440, 21.67, 43.34, (16, 16, 16, 16, 16)),
    "mc4_18": (12_727_632, 19.98, 39.95, (16, 16, 8, 8, 8)),
    "mc5_18": (16_856_400, 19.95, 39.90, (16, 16, 8, 4, 4)),
    "rmc2_18": (33_352_656, 19.88, 39.75, (16, 16, 8, 4, 2)),
    "rmc3_18": (33_057_744, 12.48, 24.95, (16, 16, 8, 4, 2)),
    "rmc4_18": (None, 14.55, 29.09, (16, 16, 16, 8, 4)),
    "rmc5_18": (27_896_784, 15.39, 30.79, (16, 16, 16, 16, 8)),
    "r3d_18": (33_371_472, 20.35, 40.70, (16, 16, 8, 4, 2)),
}
_TABLE = "Tran et al. 2018, Table 1; the authors' code VMZ"
_META = "torchvision's description of its weights"


def _sizes(lengths: tuple[int, ...]) -> dict[str, tuple[int, int, int]]:
    groups = zip(("conv1", "layer1", "layer2", "layer3", "layer4"), lengths, (56, 56, 28, 14, 7), strict=True)
    return {name: (length, side, side) for name, length, side in groups}


def _row(name: str, frames: int) -> Published:
    parameters, of_8, of_16, lengths = _VMZ[name]
    gmacs, sizes = (of_8, {}) if frames == 8 else (of_16, _sizes(lengths))
    clip = (3, frames, 112, 112)
    return Published(name, _TABLE, parameters=parameters, gmacs=gmacs, clip=clip, sizes=sizes)


PUBLISHED = (
    *(_row(name, frames) for name in _VMZ for frames in (8, 16)),
    Published("r2d_18", _TABLE, {"frames": 8}, 11_447_568, gmacs=1.93, clip=(3, 8, 112, 112)),
    Published("r2d_18", _TABLE, {"frames": 16}, 11_522_832, gmacs=2.17, sizes=_sizes((1, 1, 1, 1, 1))),
    Published("r3d_18", _META, parameters=33_371_472, gmacs=40.697, decimals=3),
    Published("mc3_18", _META, parameters=11_695_440, gmacs=43.343, decimals=3),
)
