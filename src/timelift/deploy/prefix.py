"""Prefix: the part of a network before anything looks through time: a frame passes it once, in any clips.

Where it ends is found, not assumed: the latest module on whose answer all that follows hangs. On a twin
without numbers that answer is exchanged, frames for clips of them; a path around it would meet the one with
the other, and fail.
"""

import copy
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import ClipBatch, Clipwise
from timelift.lifting import VideoModel


@dataclass(frozen=True)
class End:
    """Where a prefix ends: behind a module of the image network ("": all of it), in its n-th call."""

    module: str
    call: int  # from 0


class Prefix:
    """A network in two: every frame alone up to the prefix' end, and clips from there on."""

    def __init__(self, video: VideoModel, frame: Tensor, length: int):
        """For clips of `length` frames like this one, (1, C, H, W)."""
        self.video = video
        twin = copy.deepcopy(video.image_net).to("meta").eval()
        frames = torch.zeros_like(frame[:1], device="meta").repeat(2 * length, 1, 1, 1)  # of two clips
        self.runs = layer_runs(twin, frames)  # None for a network that cannot run without numbers
        self.end = None if self.runs is None else find_end(twin, frames)

    def features(self, frames: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, ...): what stands at the end; the frames where there is no prefix."""
        if self.end is None:
            return frames
        came: list[Tensor] = []

        def stop(answer: Tensor) -> Tensor:
            came.append(answer)
            raise _Reached

        with suppress(_Reached):
            self._run(frames, len(frames), stop)
        return came[0]

    def per_frame(self, features: Tensor, clips: int, frame: Tensor) -> Tensor:
        """Features (clips * T, ...), clip by clip -> what the network answers to the clips, (clips, T', K).

        frame: any (1, C, H, W), which goes through the prefix in their place.
        """
        if self.end is None:
            logits = self._run(features, clips, None)
        else:
            logits = self._run(frame, clips, lambda answer: features)
        return logits.unflatten(0, (clips, len(logits) // clips))

    def _run(self, frames: Tensor, clips: int, exchange: Callable[[Tensor], Tensor] | None) -> Tensor:
        net = self.video.image_net
        with torch.no_grad(), ClipBatch(clips):
            if self.end is None or exchange is None:
                return net(frames)
            with _exchanged(net, self.end, exchange):
                return net(frames)


def layer_runs(net: nn.Module, frames: Tensor) -> dict[str, int] | None:
    """How often each layer on clips runs in a forward of two clips; None if that fails."""
    runs: dict[str, int] = {}
    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, Clipwise):
            runs[name] = 0
            hooks.append(module.register_forward_pre_hook(_counted(runs, name)))
    try:
        with torch.no_grad(), ClipBatch(2):
            net(frames)
    except RuntimeError:
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return runs


def find_end(net: nn.Module, frames: Tensor) -> End | None:
    """The end of an image network's prefix; None where there is none.

    net, frames: on the device "meta"; the frames (N, C, H, W) are those of two clips.
    """
    with torch.no_grad(), ClipBatch(2):
        answers = len(net(frames))
        ends = _finished_before_time(net, frames)
    return next((end for end in reversed(ends) if _holds(net, end, frames, answers)), None)


def _finished_before_time(net: nn.Module, frames: Tensor) -> list[End]:
    """The modules that gave one answer a frame before the first layer on clips ran, in that order."""
    names = {module: name for name, module in reversed(list(net.named_modules()))}
    ends: list[End] = []
    calls = Counter[str]()

    def after(module: nn.Module, given: Any, came: Any) -> None:
        name = names[module]
        if isinstance(came, Tensor) and came.dim() and len(came) == len(frames):
            ends.append(End(name, calls[name]))
        calls[name] += 1

    def stop(module: nn.Module, given: Any) -> None:
        raise _Reached

    hooks = [module.register_forward_hook(after) for module in names]
    hooks += [module.register_forward_pre_hook(stop) for module in names if isinstance(module, Clipwise)]
    try:
        net(frames)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return ends


def _holds(net: nn.Module, end: End, frames: Tensor, answers: int) -> bool:
    """Whether two clips can be put in the place of one frame more than they have."""
    one_more = torch.cat([frames, frames[:1]])  # an odd number: no two clips
    try:
        with torch.no_grad(), ClipBatch(2), _exchanged(net, end, lambda answer: answer[:-1]):
            return len(net(one_more)) == answers
    except (RuntimeError, ValueError):
        return False


@contextmanager
def _exchanged(net: nn.Module, end: End, exchange: Callable[[Tensor], Tensor]):
    """The scope in which the answer at the end is exchanged for another, in this thread's forward."""
    calls, thread = itertools.count(), threading.get_ident()

    def hook(module: nn.Module, given: Any, came: Tensor) -> Tensor | None:
        if threading.get_ident() != thread or next(calls) != end.call:
            return None
        return exchange(came)

    handle = net.get_submodule(end.module).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _counted(runs: dict[str, int], name: str) -> Callable[[nn.Module, Any], None]:
    def count(module: nn.Module, given: Any) -> None:
        runs[name] += 1

    return count


class _Reached(Exception):
    """The end is reached: what follows need not run."""
