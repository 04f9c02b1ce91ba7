"""Every published figure of every named system, counted again: on the meta device, without a weight."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timelift.lifting import VideoModel
from timelift.systems import SYSTEMS, create_model
from timelift.systems.system import Published, Shape

VERDICTS = ("exact", "one reading", "explained", "WRONG")


@dataclass(frozen=True)
class Figure:
    """One published figure beside ours, both as they are printed."""

    system: str
    options: str
    what: str  # "parameters", "GMAC" or "T x H x W behind MODULE"
    ours: str
    published: str
    source: str
    explained: str

    @property
    def verdict(self) -> str:
        """exact, one reading (met, of several that the papers leave open), explained (not met), or WRONG."""
        if self.ours == self.published:
            return "one reading" if self.explained else "exact"
        return "explained" if self.explained else "WRONG"


@dataclass(frozen=True)
class Counted:
    """What one forward of a weightless network shows."""

    parameters: int
    multiply_adds: int
    of_convolutions: int  # multiply-adds without the fully connected layers
    sizes: dict[str, tuple[int, int, int]]  # module of the network -> (T, H, W) behind it


def count(name: str, options: dict[str, Any], clip: Shape) -> Counted:
    """Build a system on the meta device and run one clip (C, T, H, W) through it."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = create_model(name, **options).eval()
        frames = torch.zeros(1, *clip)
    sizes: dict[str, tuple[int, int, int]] = {}
    hooks = [module.register_forward_hook(_noting(sizes, name)) for name, module in _modules(model)]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(frames)
    for hook in hooks:
        hook.remove()
    by_operator = counter.get_flop_counts()["Global"]
    convolutions = sum(flops for operator, flops in by_operator.items() if "conv" in str(operator))
    return Counted(_parameters(model), counter.get_total_flops() // 2, convolutions // 2, sizes)


def figures(published: Published) -> Iterator[Figure]:
    """Each figure of a published row beside ours."""
    options = ", ".join(f"{key}={value!r}" for key, value in published.options.items())

    def figure(what: str, mine: str, theirs: str) -> Figure:
        return Figure(published.system, options, what, mine, theirs, published.source, published.explained)

    if published.of is not None or published.part:
        what = f"parameters of {published.part or 'the module'}"
        yield figure(what, f"{_of_part(published):,}", f"{published.parameters:,}")
        return
    clip = published.clip or SYSTEMS[published.system].clip
    ours = count(published.system, dict(published.options), clip)
    if published.parameters is not None:
        yield figure("parameters", f"{ours.parameters:,}", f"{published.parameters:,}")
    if published.mega_parameters is not None:
        mega = f"{ours.parameters / 1e6:.2f} M"
        yield figure("parameters", mega, f"{published.mega_parameters:.2f} M")
    if published.gmacs is not None:
        digits, shape = published.decimals, " x ".join(map(str, clip))
        counted = ours.multiply_adds if published.dense else ours.of_convolutions
        of = "" if published.dense else ", convolutions"
        yield figure(f"GMAC of {shape}{of}", f"{counted / 1e9:.{digits}f}", f"{published.gmacs:.{digits}f}")
    for module, size in published.sizes.items():
        came = ours.sizes.get(module)
        mine = "no such module" if came is None else " x ".join(map(str, came))
        yield figure(f"T x H x W behind {module}", mine, " x ".join(map(str, size)))


def _of_part(published: Published) -> int:
    """Parameters of a row's own module, or of a part of the system's network."""
    with torch.device("meta"):
        if published.of is not None:
            module = published.of()
        else:
            module = create_model(published.system, **published.options).image_net
    return _parameters(module.get_submodule(published.part))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _modules(model: VideoModel) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.image_net.named_modules() if name]


def _noting(sizes: dict[str, tuple[int, int, int]], name: str) -> Callable[..., None]:
    """A hook that notes (T, H, W) of what a module gives for one clip; the first call counts."""

    def note(module: nn.Module, args: tuple, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() in (2, 4):
            size = (*output.shape[2:], 1, 1)[:2] if output.dim() == 2 else output.shape[2:]
            sizes.setdefault(name, (len(output), int(size[0]), int(size[1])))

    return note
