"""Streams, piece by piece: what a causal convolution keeps, the inputs that the next piece's frames see."""

from typing import Any

import torch
from torch import Tensor, nn

from timelift.conversions.errors import ConversionError
from timelift.conversions.padding import TimePadding, pad_time
from timelift.conversions.since import since


def check_causal(frames: int, stride: int, padding: TimePadding, causal: bool) -> None:
    """Raise a ConversionError for a convolution through time that cannot be run piece by piece."""
    if stride > 1:
        raise ConversionError(f"has temporal stride {stride}: a stream takes stride='none'")
    if frames > 1 and not causal:
        raise ConversionError("sees frames behind its own: a stream takes causal=True")
    if frames > 1 and padding == "valid":
        raise ConversionError(
            "answers fewer frames than it sees: a stream takes padding='replicate' or 'zeros'"
        )


def with_past(clip: Tensor, past: Any, frames: int, padding: TimePadding) -> tuple[Tensor, Tensor]:
    """A piece behind the `frames` - 1 inputs before it, and those that the next piece needs.

    past: None at the beginning, where the padding stands for them. (B, C, t, H, W) -> (B, C, t + frames - 1,
    H, W) and (B, C, frames - 1, H, W).
    """
    before = since(past, lambda: pad_time(clip[:, :, :1], frames, 1, padding, causal=True)[:, :, :-1])
    seen = torch.cat([before, clip], dim=2)
    return seen, seen[:, :, seen.shape[2] - (frames - 1) :].clone()


def advance(module: Any, clip: Tensor, state: Any) -> tuple[Tensor, Any]:
    """A piece through a module on clips: its own `advance`, or the parts of an nn.Sequential in turn."""
    if hasattr(module, "advance"):
        return module.advance(clip, state)
    states: list[Any] = []
    for part, own in zip(module, state or (None,) * len(module), strict=True):
        clip, own = advance(part, clip, own)
        states.append(own)
    return clip, tuple(states)


def check_stream(module: nn.Module) -> None:
    """Raise a ConversionError for a module on clips that cannot be run piece by piece, saying why."""
    if hasattr(module, "advance"):
        getattr(module, "check_stream", lambda: None)()
    elif type(module) is nn.Sequential:
        for part in module:
            check_stream(part)
    else:
        raise ConversionError(
            f"is a {type(module).__name__} on clips without advance(clip, state): a stream takes causal "
            "layers, without pools, strides and gates through time"
        )
