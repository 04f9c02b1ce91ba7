"""Clips and frames: time is folded into the batch, and unfolded only where a layer looks through time.

A clip is (B, C, T, H, W); its frames are (B*T, C, H, W), clip by clip, in order of time. The image network
sees frames. What is carried along is the number of clips B, never the length T, so that a layer may change
the length: T = len(frames) // B holds anywhere, also inside a residual branch with temporal stride.

Views go by way of (B, T, H, W, C), as channels-last clips lie in memory. Otherwise a dimension of size 1 gets
a stride by which PyTorch no longer knows the layout, and works on in another one.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_clips_in_batch: ContextVar[int | None] = ContextVar("timelift_clips_in_batch", default=None)
_advancing: ContextVar[Callable[["Clipwise", Tensor], Tensor] | None] = ContextVar(
    "timelift_advancing", default=None
)


def in_transform() -> bool:
    """Whether torch.func is at work (vmap, grad ...), where layers that ask for a layout fail."""
    return torch._C._are_functorch_transforms_active()


def channels_last(clip: Tensor) -> Tensor:
    """The clip (B, C, T, H, W) laid out channels last, copied only if it is not; under `vmap`, too."""
    return clip.movedim(1, -1).contiguous().movedim(-1, 1)


def fold(clip: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W): a view when the clip is channels-last."""
    if in_transform():
        return clip.transpose(1, 2).flatten(0, 1)
    return clip.movedim(1, -1).flatten(0, 1).movedim(-1, 1)


def unfold(frames: Tensor, clips: int) -> Tensor:
    """(B*T, C, H, W) -> (B, C, T, H, W) with B = clips: always a view.

    Raises:
        ValueError: if the frames do not divide into so many clips.
    """
    if frames.shape[0] % clips:
        raise ValueError(f"{frames.shape[0]} frames do not divide into {clips} clips of equal length")
    shape = clips, frames.shape[0] // clips
    if in_transform():
        return frames.unflatten(0, shape).transpose(1, 2)
    return frames.movedim(1, -1).unflatten(0, shape).movedim(-1, 1)


def fold_places(clip: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, C, T, H*W), in the same layout."""
    if in_transform():
        return clip.flatten(3)
    return clip.movedim(1, -1).flatten(2, 3).movedim(-1, 1)


def unfold_places(columns: Tensor, height: int, width: int) -> Tensor:
    """(B, C, T, H*W) -> (B, C, T, H, W), in the same layout."""
    if in_transform():
        return columns.unflatten(3, (height, width))
    return columns.movedim(1, -1).unflatten(2, (height, width)).movedim(-1, 1)


def fold_tokens(clip: Tensor) -> Tensor:
    """(B, T, ..., D) -> (B*T, ..., D): tokens keep their frame's order and their own."""
    return clip.flatten(0, 1)


def unfold_tokens(frames: Tensor, clips: int) -> Tensor:
    """(B*T, ..., D) -> (B, T, ..., D) with B = clips: always a view.

    Raises:
        ValueError: if the frames do not divide into so many clips.
    """
    if frames.shape[0] % clips:
        raise ValueError(f"{frames.shape[0]} frames do not divide into {clips} clips of equal length")
    return frames.unflatten(0, (clips, frames.shape[0] // clips))


@contextmanager
def ClipBatch(clips: int) -> Iterator[None]:
    """The scope in which frames belong to `clips` clips: one forward of a VideoModel, restored on error."""
    token = _clips_in_batch.set(clips)
    try:
        yield
    finally:
        _clips_in_batch.reset(token)


@contextmanager
def Advancing(advance: Callable[["Clipwise", Tensor], Tensor]) -> Iterator[None]:
    """The scope in which clips come piece by piece: `advance` answers for every layer on clips."""
    token = _advancing.set(advance)
    try:
        yield
    finally:
        _advancing.reset(token)


@dataclass(frozen=True)
class Framewise:
    """The layer as it is, on every frame: a 3-D kernel of length 1."""

    keeps = frozenset({"identity_start", "still_clip", "causal"})

    def __call__(self, layer: nn.Module) -> nn.Module:
        """A copy of the layer, taking and giving clips."""
        return OnFrames(copy.deepcopy(layer))


class OnFrames(nn.Module):
    """A layer on frames, made a layer on clips: (B, C, T, H, W) -> (B, C', T, H', W')."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, clip: Tensor) -> Tensor:
        """Apply the layer to each frame alone."""
        return unfold(self.layer(fold(clip)), clip.shape[0])

    def advance(self, clip: Tensor, state: None) -> tuple[Tensor, None]:
        """The next frames of a stream: no frame leaves anything behind."""
        return self(clip), None


class Clipwise(nn.Module):
    """A layer on clips, made a layer on frames, for its place inside the image network."""

    _fold, _unfold = staticmethod(fold), staticmethod(unfold)

    def __init__(self, on_clips: nn.Module, name: str):
        super().__init__()
        self.on_clips = on_clips
        self.name = name
        self._clips_of: dict[int, int] = {}  # number of frames -> clips, of forwards with gradients

    def forward(self, frames: Tensor) -> Tensor:
        """(B*T, C, H, W) -> (B*T', C', H', W').

        Raises:
            RuntimeError: outside a VideoModel's forward, where B is not known.
        """
        clip, advance = self._unfold(frames, self._clips(frames.shape[0])), _advancing.get()
        return self._fold(self.on_clips(clip) if advance is None else advance(self, clip))

    def _clips(self, frames: int) -> int:
        clips = _clips_in_batch.get()
        if clips is None:
            return self._clips_in_recomputation(frames)
        if (torch.is_grad_enabled() or self.training) and not torch.compiler.is_compiling():
            seen = self._clips_of.setdefault(frames, clips)
            if seen != clips:
                self._clips_of[frames] = 0  # two readings of the same number: never guess
        return clips

    def _clips_in_recomputation(self, frames: int) -> int:
        """B inside `torch.utils.checkpoint`'s second forward, which runs in backward, outside the scope."""
        clips = self._clips_of.get(frames)
        in_backward = torch._C._current_graph_task_id() != -1
        if clips is None or not in_backward:
            raise RuntimeError(
                f"{self.name} was called outside a VideoModel: it does not know how many clips its "
                f"{frames} frames belong to. Call the VideoModel, or wrap the call in ClipBatch(clips)."
            )
        if clips == 0:
            raise RuntimeError(
                f"{self.name} is recomputed in backward, but {frames} frames came as different numbers of "
                "clips before: with activation checkpointing keep the batch and the clip length fixed."
            )
        return clips


class Tokenwise(Clipwise):
    """A layer on token clips (B, T, ..., D), made a layer on the tokens of frames, (B*T, ..., D)."""

    _fold, _unfold = staticmethod(fold_tokens), staticmethod(unfold_tokens)
