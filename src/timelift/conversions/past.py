"""Streams, piece by piece: what a layer through time keeps of the frames before a piece, and when it answers.

A piece is the next frames of a clip. Where no answer sees frames to come, `advance` gives each one for good,
and pieces one after another get what the whole clip gets. Where answers look ahead, `revise` takes the last
frames of a piece once more with the next one: until then they are answered as the end of a clip is.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import OnFrames
from timelift.conversions.errors import ConversionError
from timelift.conversions.padding import Window
from timelift.conversions.since import since


class NotYet(Exception):
    """A piece is too short for one answer of a layer: it comes again, with frames behind it."""


def look_ahead(module: nn.Module) -> int:
    """How many frames behind the one that it stands for an answer of this module on clips sees.

    Raises:
        ConversionError: for a module that cannot be run piece by piece, saying why.
    """
    if type(module) is nn.Sequential:
        return sum(map(look_ahead, module))
    window = window_of(module)
    if window is not None:
        _check(window)
        return window.behind
    if hasattr(module, "advance"):
        getattr(module, "check_stream", lambda: None)()
        return 0
    raise ConversionError(
        f"is a {type(module).__name__} on clips without advance(clip, state): it sees the whole clip, or "
        "does not say what it keeps of the frames before"
    )


def window_of(module: nn.Module) -> Window | None:
    """The frames that an answer of a module on clips sees; None where it does not say, or there is no end."""
    window = Window(1) if isinstance(module, OnFrames) else getattr(module, "window", None)
    return window if isinstance(window, Window) else None


def parts_of(module: nn.Module) -> Iterator[nn.Module]:
    """A module on clips, or the parts of an nn.Sequential in turn."""
    if type(module) is nn.Sequential:
        for part in module:
            yield from parts_of(part)
    else:
        yield module


def advance(module: Any, clip: Tensor, state: Any) -> tuple[Tensor, Any]:
    """A piece through a module on clips: its own `advance`, or the parts of an nn.Sequential in turn.

    Raises:
        NotYet: where the piece is too short for an answer; the state is what it was.
    """
    if hasattr(module, "advance"):
        return module.advance(clip, state)
    states: list[Any] = []
    for part, own in zip(module, state or (None,) * len(module), strict=True):
        clip, own = advance(part, clip, own)
        states.append(own)
    return clip, tuple(states)


def revise(module: Any, clip: Tensor, state: Any, settled: int, time: int = 2) -> tuple[Tensor, Any]:
    """A piece whose first `settled` frames come for the last time: all answers, and the state behind these.

    The others are answered as the end of a clip is. Every layer has stride 1 in time and keeps the length.
    time: the dimension of time, 2 of maps and 1 of tokens.
    """
    if isinstance(module, OnFrames):
        return module(clip), None
    if type(module) is nn.Sequential:
        states: list[Any] = []
        for part, own in zip(module, state or (None,) * len(module), strict=True):
            clip, own = revise(part, clip, own, settled, time)
            states.append(own)
        return clip, tuple(states)
    window = window_of(module)
    if window is None:
        return _in_two(module, clip, state, settled, time)
    seen = clip if state is None else torch.cat([state, clip], dim=time)
    end = seen.shape[time] - clip.shape[time] + settled
    kept = min(window.before, end)
    answer = module(seen).narrow(time, end - settled, clip.shape[time])
    return answer, seen.narrow(time, end - kept, kept).clone()


def with_past(clip: Tensor, past: Any, window: Window, fill: float = 0.0) -> tuple[Tensor, Any]:
    """A piece behind the inputs that its first window reaches back to, and those that the next piece needs.

    past: None at the beginning, where the padding stands for them; a Since where a tensor says which it is.
    (B, C, t, H, W) -> (B, C, t', H, W), whose windows without padding are the next ones. With stride 1 the
    next past is (B, C, frames - 1, H, W); else it comes with how many frames pass before the next window
    begins.

    Raises:
        NotYet: if no window is full.
        ConversionError: for a window that sees frames behind its own.
    """
    _check(window)
    if window.behind:
        raise ConversionError("sees frames behind its own: an answer for good takes causal=True")
    kept, passing = past if isinstance(past, tuple) else (past, 0)
    before = since(kept, lambda: _beginning(clip, window, fill))
    seen = torch.cat([before, clip], dim=2)[:, :, passing:]
    full = (seen.shape[2] - window.frames) // window.stride + 1
    if full < 1:
        raise NotYet
    begins = full * window.stride
    rest = seen[:, :, begins:].clone()
    return seen, rest if window.stride == 1 else (rest, max(0, begins - seen.shape[2]))


def _beginning(clip: Tensor, window: Window, fill: float) -> Tensor:
    """What stands before a clip's first frame, (B, C, before, H, W)."""
    first = clip[:, :, :1] if window.padding == "replicate" else torch.full_like(clip[:, :, :1], fill)
    return torch.cat([first] * window.before, dim=2) if window.before else first[:, :, :0]


def _in_two(module: Any, clip: Tensor, state: Any, settled: int, time: int) -> tuple[Tensor, Any]:
    """A module that only advances: first what is settled, then the rest, whose state is not kept."""
    if settled == clip.shape[time]:
        return module.advance(clip, state)
    if settled == 0:
        return module.advance(clip, state)[0], state
    first, state = module.advance(clip.narrow(time, 0, settled), state)
    rest, _ = module.advance(clip.narrow(time, settled, clip.shape[time] - settled), state)
    return (rest if getattr(module, "summarises", False) else torch.cat([first, rest], dim=time)), state


def _check(window: Window) -> None:
    if window.behind and window.stride > 1:
        raise ConversionError(
            f"sees frames behind its own and has temporal stride {window.stride}: a stream takes "
            "causal=True, or stride='none'"
        )
