"""What stands around a layer: its norm and activation, the strided layers beside it, lengths that meet."""

import copy
import re

import torch
from torch import Tensor, nn

from timelift.clip import ClipBatch
from timelift.conversions.errors import ClipTooShort, ConversionError
from timelift.networks.trace import Layer
from timelift.records.errors import UsageError

_ACTIVATIONS = re.compile(
    r"(\w*ReLU\w*|SiLU\w*|Swish\w*|(Quick)?GELU\w*|Mish\w*|H(ard)?(S|s)wish\w*|\w*ELU|Tanh|Sigmoid)"
)


def behind_norm_act(layers: tuple[Layer, ...], layer: Layer) -> tuple[str, nn.Module | None]:
    """The name of the module that ends the layer's own norm and activation.

    An activation that several layers share cannot be replaced for one of them. A ReLU, which twice is once,
    is then to run behind the norm as well: the second answer.

    Raises:
        ConversionError: if no norm and activation take the layer's answer.
    """
    norm = _taker(layers, layer)
    if norm is None or "norm" not in type(norm.module).__name__.lower():
        raise _nothing_behind("no norm takes its answer")
    if norm.calls > 1:
        raise _nothing_behind(f"its norm {norm.name} runs {norm.calls} times")
    own = getattr(norm.module, "act", None)
    if own is not None and not isinstance(own, nn.Identity):
        return norm.name, None
    act = _taker(layers, norm)
    if act is None or not _ACTIVATIONS.fullmatch(type(act.module).__name__):
        raise _nothing_behind(f"no activation takes the answer of {norm.name}")
    if act.calls == 1:
        return act.name, None
    if type(act.module) in (nn.ReLU, nn.ReLU6):
        return norm.name, type(act.module)()
    raise _nothing_behind(f"its activation {act.name} is shared by {act.calls} layers")


def _taker(layers: tuple[Layer, ...], maker: Layer) -> Layer | None:
    """The first module, not a container, that takes a module's answer untouched."""
    takers = (layer for layer in layers if maker.name in layer.fed_by)
    return next(
        (layer for layer in takers if not isinstance(layer.module, _PASSING) and _is_unit(layer)), None
    )


_PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d)


def _is_unit(layer: Layer) -> bool:
    return not list(layer.module.children()) or "norm" in type(layer.module).__name__.lower()


def _nothing_behind(why: str) -> ConversionError:
    return ConversionError(
        f"has no norm and activation of its own to stand behind ({why}): take between='none', "
        "start='random', or a place that leaves it out"
    )


def parallel_strided(
    layers: tuple[Layer, ...], taken: set[str], strided: list[tuple[Layer, int]]
) -> list[tuple[Layer, int]]:
    """Layers without a rule that shrink the map as a temporally strided one does: shortcuts and pools."""
    stride_of = {(layer.input_size, layer.output_size): stride for layer, stride in strided}
    return [
        (layer, stride_of[layer.input_size, layer.output_size])
        for layer in layers
        if layer.name not in taken
        and (layer.input_size, layer.output_size) in stride_of
        and not list(layer.module.children())
        and _stride(layer.module) > 1
    ]


def _stride(module: nn.Module) -> int:
    stride = getattr(module, "stride", 1)
    return max(stride) if isinstance(stride, tuple) else int(stride or 1)


def check_lengths(video: nn.Module, frames: Tensor) -> None:
    """Run two clips of 16 such frames (N, C, H, W) through a weightless twin; one clip might broadcast.

    Raises:
        UsageError: naming the block in which paths of different lengths meet.
    """
    twin = copy.deepcopy(video).to("meta").eval()
    running: list[str] = []
    hooks = [
        hook
        for name, module in twin.named_modules()
        for hook in (
            module.register_forward_pre_hook(lambda m, a, name=name: running.append(name)),
            module.register_forward_hook(lambda m, a, o: running.pop() and None),
        )
    ]
    clip = torch.zeros(2 * 16, *frames.shape[1:], device="meta", dtype=frames.dtype)
    try:
        with ClipBatch(2), torch.no_grad():
            twin.get_submodule("image_net")(clip)  # the model's forward would look for the shortest clip
    except ClipTooShort:
        return  # 16 frames are few for this network; its own forward says how many it takes
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or "meta" in str(error).lower():
            return  # it cannot run without numbers; a difference shows in its first forward
        where = running[-1].removeprefix("image_net.") if running else "the network"
        raise UsageError(
            f"{where or 'the network'}: after temporal strides its paths have different lengths ({error}); "
            "give both paths the same stride, by a rule on the other or with stride='none'"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
