"""What any layer of a network on clips says of videos: averaged over space, time and views."""

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timelift.evaluation.evaluate import Clips, Progress, evaluating, in_batches
from timelift.records import DataError, UsageError


def layer_features(
    model: nn.Module,
    layer: str,
    clips: Clips,
    *,
    normalise: Callable[[Tensor], Tensor],
    device: torch.device | str,
    progress: Progress | None = None,
    batch_views: int = 8,
    before: bool = False,
) -> np.ndarray:
    """(videos, D) float32: the layer's output, averaged over space, over time, then over a video's views.

    model: on clips (B, C, T, H, W), on `device` already. layer: of `named_modules`. before: what the layer
    gets instead of what it gives.

    Raises:
        UsageError: for a layer that is not there, is not run, or gives no rows or maps.
        DataError: if there are no videos.
    """
    if not len(clips):
        raise DataError("no videos to take features of: this split is empty")
    seen: list[Tensor] = []
    hook = _watch(find_layer(model, layer), seen, before)
    rows: list[np.ndarray] = []
    try:
        with evaluating(model), torch.inference_mode():
            for index in range(len(clips)):
                views, _ = clips[index]
                means = []
                for _, batch in in_batches(((index, view) for view in views), batch_views):
                    seen.clear()
                    model(normalise(batch.to(device)))
                    means.append(per_clip(seen, len(batch), layer).float())
                rows.append(torch.cat(means).mean(dim=0).cpu().numpy())
                if progress is not None:
                    progress(index + 1, len(clips))
    finally:
        hook.remove()
    return np.stack(rows)


def per_clip(seen: list[Tensor], clips: int, layer: str) -> Tensor:
    """What a layer gave for a batch of so many clips -> (clips, D): the mean over space and time.

    It may be rows (B*T, D), tokens (B*T, N, D), maps (B*T, D, H, W) or maps in time (B, D, T, H, W); a layer
    that runs several times in a forward counts by its last.
    """
    if not seen:
        raise UsageError(f"the layer {layer} does not run in a forward: nothing to take")
    came = seen[-1]
    if not isinstance(came, Tensor) or came.dim() not in (2, 3, 4, 5) or len(came) % clips:
        shape = tuple(came.shape) if isinstance(came, Tensor) else type(came).__name__
        raise UsageError(f"the layer {layer} gives {shape} for {clips} clip(s): no rows or maps to average")
    _, *sizes = came.shape
    if len(sizes) == 3 and sizes[0] == sizes[1] != sizes[2]:
        raise UsageError(
            f"the layer {layer} gives {tuple(came.shape)}: channels seem to stand last there, and maps are "
            "(B*T, D, H, W); take a layer before or behind"
        )
    if came.dim() == 3:
        came = came.mean(dim=1)
    elif came.dim() > 3:
        came = came.flatten(2).mean(dim=2)  # (B*T, D)
    return came.unflatten(0, (clips, -1)).mean(dim=1)


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module of this name.

    Raises:
        UsageError: naming those that are spelt alike, or the last ones.
    """
    modules = dict(model.named_modules())
    if layer in modules and layer:
        return modules[layer]
    names = [name for name in modules if name]
    alike = difflib.get_close_matches(layer, names, n=5) or names[-5:]
    shown = ", ".join(name.removeprefix("image_net.") for name in alike)
    told = layer.removeprefix("image_net.")
    raise UsageError(f"no layer is called {told!r}; there are {shown} ({len(names)} in all)")


def _watch(module: nn.Module, seen: list[Tensor], before: bool):
    if before:
        return module.register_forward_pre_hook(lambda _, given: seen.append(_kept(given[0])))
    return module.register_forward_hook(lambda _, given, came: seen.append(_kept(came)))


def _kept(came: Any) -> Any:
    """A copy: an activation behind the layer may work in place."""
    return came.clone() if isinstance(came, Tensor) else came
