"""optimize_stream: a stream for inference, its step frozen where that is measured to be quicker.

The step is traced once (`deploy.step`) for frames of one shape, its norms are folded, its kernels packed and
its activations fused (`deploy.frozen`). Answers are those of `Stream`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from timelift.deploy.frozen import folded, packed
from timelift.deploy.program import with_kernels_made
from timelift.deploy.step import check_steps, trace_step, zero_states
from timelift.deploy.stream import Stream, StreamAnswer, check_frame
from timelift.lifting import VideoModel
from timelift.records import UsageError
from timelift.timing import Contest, measure

_TOLERANCE = 1e-4  # of the largest answer
_WORTH = 0.98  # of the plain step's time: more than this is not taken for a gain
_STEPS = 4  # compared


class FrozenStream:
    """`Stream` for frames of the shape of one, over the weights that the network has now."""

    delay, every, look_ahead = 0, 1, 0

    def __init__(self, video: VideoModel, frame: Tensor):
        """A stream at its beginning, for frames like this one, (B, C, H, W).

        Raises:
            UsageError: for a network that `Stream` does not take, that does not answer every frame as it
                comes, or that cannot be traced; for numbers other than float32.
        """
        check_steps(video)
        _check_floats(video, frame)
        self.video, self.shape = video, tuple(frame.shape)
        program, self._shapes = trace_step(
            with_kernels_made(video), lambda videos: _like(frame, videos), lambda clip: clip
        )
        two = _like(frame, 2)
        self._run = folded(program, two, *self._beginning(two))
        if frame.device.type == "cpu":
            self._run = packed(self._run, frame, *self._beginning(frame))
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one begins another video."""
        self._states: list[Tensor] | None = None

    def step(self, frame: Tensor) -> StreamAnswer:
        """The next frame (B, C, H, W) of B videos; `clip_logits` equals `video(all frames so far)`.

        Raises:
            UsageError: for a frame of another shape than the one that this stream was made for.
        """
        check_frame(self.video, frame, self.shape)
        with torch.no_grad():
            states = self._beginning(frame) if self._states is None else self._states
            frame_logits, *self._states = self._run(frame, *states)
        seen, clip_logits = self._states[:2]
        return StreamAnswer(frame_logits, clip_logits, int(seen))

    def state_dict(self) -> dict[str, Any]:
        """All that the next step needs beside the network, for torch.save."""
        names = self._shapes if self._states else ()
        return dict(zip(names, self._states or (), strict=True))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another frozen stream over the same network stood.

        Raises:
            UsageError: for the state of another network or of another kind of stream.
        """
        if state and list(state) != list(self._shapes):
            raise UsageError("this is not the state of a frozen stream through this network")
        self._states = list(state.values()) or None

    def _beginning(self, frame: Tensor) -> list[Tensor]:
        return [state.to(frame.device) for state in zero_states(self._shapes, len(frame))]


@dataclass(frozen=True, eq=False)
class StreamChoice:
    """The stream that is taken, at its beginning.

    speedup: times as fast as `Stream`, least time over least time. left_out: why it is not the frozen one;
    "" where it is.
    """

    stream: Stream | FrozenStream
    speedup: float = 1.0
    left_out: str = ""


def optimize_stream(video: VideoModel, frame: Tensor, turns: int = 5) -> StreamChoice:
    """The quicker of `Stream` and `FrozenStream` for frames like this one, (B, C, H, W), by measuring.

    turns: how often a step of each is timed, in turn with the other.

    Raises:
        UsageError: for a network that does not stream, as `Stream`.
    """
    plain = Stream(video)
    try:
        frozen = FrozenStream(video, frame)
    except UsageError as error:
        return StreamChoice(plain, left_out=str(error))
    apart = _difference(plain, frozen, frame)
    if not apart <= _TOLERANCE:
        told = f"answers differ by {apart:.0e} of the largest, more than {_TOLERANCE:.0e}"
        return StreamChoice(Stream(video), left_out=told)
    ways = {name: partial(_finished, stream, frame) for name, stream in (("", plain), ("frozen", frozen))}
    slow, quick = (way.minimum for way in measure(Contest("", ways), turns).ways)
    for stream in (plain, frozen):
        stream.reset()
    if quick < _WORTH * slow:
        return StreamChoice(frozen, slow / quick)
    return StreamChoice(plain, left_out=f"frozen, a step takes {quick / slow:.2f} of the time")


def _difference(plain: Stream, frozen: FrozenStream, frame: Tensor) -> float:
    """The largest of any answer to the same random frames, relative to the largest answer."""
    pairs: list[tuple[Tensor | None, Tensor | None]] = []
    for _ in range(_STEPS):
        some = _like(frame, len(frame))
        ours, theirs = plain.step(some), frozen.step(some)
        pairs += [(ours.frame_logits, theirs.frame_logits), (ours.clip_logits, theirs.clip_logits)]
    apart = [(a - b).abs().max() / a.abs().max() for a, b in pairs if a is not None and b is not None]
    return float(torch.stack(apart).max())  # NaN if any is


def _finished(stream: Stream | FrozenStream, frame: Tensor) -> None:
    """A step, once the device has done it."""
    stream.step(frame)
    if frame.device.type in ("cuda", "mps"):
        getattr(torch, frame.device.type).synchronize()


def _like(frame: Tensor, videos: int) -> Tensor:
    generator = torch.Generator().manual_seed(videos)
    return torch.randn((videos, *frame.shape[1:]), generator=generator).to(frame.device)


def _check_floats(video: VideoModel, frame: Tensor) -> None:
    tensors = (frame, *video.parameters(), *video.buffers())
    if {t.dtype for t in tensors if t.is_floating_point()} != {torch.float32}:
        raise UsageError("a network and frames in float32 are frozen: call .float() first")
