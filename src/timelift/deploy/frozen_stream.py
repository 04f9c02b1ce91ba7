"""optimize_stream: a stream for inference, its step frozen where that is measured to be quicker.

The step is traced once (`deploy.step`) for frames of one shape, its norms are folded, its kernels packed and
its activations fused (`deploy.frozen`). Answers are those of `Stream`.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from timelift.deploy.forms import WORTH, apart, check_float32, full_float32, too_far, until_done
from timelift.deploy.frozen import folded, packed
from timelift.deploy.program import with_kernels_made
from timelift.deploy.step import check_steps, trace_step, zero_states
from timelift.deploy.stepped import Stepped
from timelift.deploy.stream import Stream, check_frame
from timelift.lifting import VideoModel
from timelift.records import UsageError
from timelift.timing import Contest, measure

_STEPS = 4  # compared


class FrozenStream(Stepped):
    """`Stream` for frames of the shape of one, over the weights that the network has now."""

    delay, every, look_ahead = 0, 1, 0

    def __init__(self, video: VideoModel, frame: Tensor):
        """A stream at its beginning, for frames like this one, (B, C, H, W).

        Raises:
            UsageError: for a network that `Stream` does not take, that does not answer every frame as it
                comes, or that cannot be traced; for numbers other than float32.
        """
        check_steps(video)
        check_float32(video, frame)
        self.video, self.shape = video, tuple(frame.shape)
        made = with_kernels_made(video)
        program, shapes = trace_step(made, lambda videos: _frames(frame, videos, 1)[0], lambda clip: clip)

        def example(videos: int) -> list[Tensor]:
            states = [state.to(frame.device) for state in zero_states(shapes, videos)]
            return [_frames(frame, videos, 1)[0], *states]

        network = folded(program, *example(2))
        if frame.device.type == "cpu":
            network = packed(network, *example(len(frame)))
        super().__init__(torch.no_grad()(lambda given: network(*given)), shapes)

    def check(self, frame: Tensor) -> None:
        """Raise a UsageError for a frame of another shape than the one that this stream was made for."""
        check_frame(self.video, frame, self.shape)


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
    far = too_far(_difference(plain, frozen, frame))
    if far:
        return StreamChoice(Stream(video), left_out=far)
    ways = {
        name: partial(until_done, stream.step, frame) for name, stream in (("", plain), ("frozen", frozen))
    }
    slow, quick = (way.minimum for way in measure(Contest("", ways), turns).ways)
    for stream in (plain, frozen):
        stream.reset()
    if quick < WORTH * slow:
        return StreamChoice(frozen, slow / quick)
    return StreamChoice(plain, left_out=f"frozen, a step takes {quick / slow:.2f} of the time")


def _difference(plain: Stream, frozen: FrozenStream, frame: Tensor) -> float:
    """Of any answer to the same random frames, as `apart` has it."""
    pairs: list[tuple[Tensor | None, Tensor | None]] = []
    with full_float32():
        for some in _frames(frame, len(frame), _STEPS):
            wanted, came = plain.step(some), frozen.step(some)
            pairs += [(came.frame_logits, wanted.frame_logits), (came.clip_logits, wanted.clip_logits)]
    return apart(pairs)


def _frames(frame: Tensor, videos: int, number: int) -> Tensor:
    """(number, videos, C, H, W): random ones of this one's size, each another."""
    generator = torch.Generator().manual_seed(videos)
    return torch.randn((number, videos, *frame.shape[1:]), generator=generator).to(frame.device)
