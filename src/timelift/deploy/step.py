"""A stream's step with explicit state: a network of tensors alone, for run-times that hold no Python.

    frame, state.frames_seen, state.clip_logits, state.LAYER ... ->
    frame_logits, next.frames_seen, next.clip_logits, next.LAYER ...

Before the first frame every state is zero. What was `next.X` of one step is `state.X` of the next;
`next.clip_logits` is the answer to all frames so far.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import Advancing, Clipwise
from timelift.conversions.past import advance
from timelift.conversions.since import Since
from timelift.deploy.program import Program, trace_program
from timelift.deploy.stream import Stream
from timelift.lifting import VideoModel, mean_consensus
from timelift.records import UsageError

Shape = tuple[int | None, ...]  # None: the batch

COUNT, MEAN = "frames_seen", "clip_logits"  # the step's own states, before those of layers


def trace_step(
    video: VideoModel, frames: Callable[[int], Tensor], prepare: Callable[[Tensor], Tensor]
) -> tuple[Program, dict[str, Shape]]:
    """The step for any number of videos at once, and the shape of every state, in order.

    frames: B -> a frame (B, C, H, W). prepare: frames as clips (B, C, 1, H, W) -> the network's own input.

    Raises:
        UsageError: for a network that does not answer every frame as it comes, or whose answer to a clip is
            not the mean over its frames.
    """
    if video.consensus is not mean_consensus:
        raise UsageError("a step keeps the mean of the frames' logits: this network's answer is another one")
    with torch.no_grad():
        two, three = (moved(video, prepare(frames(videos).unsqueeze(2))) for videos in (2, 3))
    mean: dict[str, Shape] = {COUNT: (), MEAN: (None, two[0].shape[1])}
    pairs = zip(_tensors(two[1]), _tensors(three[1]), strict=True)
    shapes = mean | {name: _with_batch_free(a, b) for (name, a), (_, b) in pairs}
    states = dict(zip((f"state.{name}" for name in shapes), zero_states(shapes, 2), strict=True))
    outputs = ("frame_logits", *(f"next.{name}" for name in shapes))
    free = {f"state.{name}": shape.index(None) for name, shape in shapes.items() if None in shape}
    network = StepNetwork(video, prepare, [_places(state) for state in two[1].values()])
    return trace_program(network, {"frame": frames(2)} | states, outputs, {"frame": 0} | free), shapes


def check_steps(video: VideoModel) -> None:
    """Raise a UsageError for a network that does not stream, or does not answer every frame as it comes."""
    stream = Stream(video)  # says which layer cannot
    if stream.holds_frames or stream.summarises:
        raise UsageError(
            "a step answers every frame as it comes: this network waits for others, looks ahead, or answers "
            "for the whole clip; causal=True, stride='none' and a padding make one that does not"
        )


def zero_states(shapes: dict[str, Shape], videos: int) -> list[Tensor]:
    """The states before the first frame of so many videos."""
    return [
        torch.zeros(
            [videos if size is None else size for size in shape],
            dtype=torch.int64 if name == COUNT else torch.float32,
        )
        for name, shape in shapes.items()
    ]


class StepNetwork(nn.Module):
    """The network of the module's first lines.

    places: where the tensors are in each layer's state, in order of execution: True, in tuples; None for a
    layer that remembers nothing.
    """

    def __init__(self, video: VideoModel, prepare: Callable[[Tensor], Tensor], places: Sequence[Any]):
        super().__init__()
        self.video, self.prepare, self.places = video, prepare, places

    def forward(self, frame: Tensor, seen: Tensor, mean: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W), (), (B, K) and the layers' states."""
        came = (Since(seen > 0, state) for state in states)
        before = [_filled(place, came) for place in self.places]
        logits, after = moved(self.video, self.prepare(frame.unsqueeze(2)), before)
        now = seen + 1
        return logits, now, mean + (logits - mean) / now, *(tensor for _, tensor in _tensors(after))


def moved(
    video: VideoModel, clip: Tensor, before: Sequence[Any] | None = None
) -> tuple[Tensor, dict[str, Any]]:
    """One frame (B, C, 1, H, W) through the network -> logits (B, K), and each layer's state behind it.

    before: the states that stand before it, in order of execution; None before the first frame.

    Raises:
        UsageError: where a frame gets no answer, or several.
    """
    names = {module: name for name, module in video.image_net.named_modules() if isinstance(module, Clipwise)}
    after: dict[str, Any] = {}

    def through(layer: Clipwise, frame: Tensor) -> Tensor:
        name = names[layer]
        key = name if name not in after else f"{name}#{len(after)}"  # a layer that runs twice has two pasts
        state = None if before is None else before[len(after)]
        after[key] = None  # its place: layers inside it come behind
        answer, after[key] = advance(layer.on_clips, frame, state)
        return answer

    with Advancing(through):
        answers = video.per_frame(clip)
    if answers.shape[1] != 1:
        raise UsageError(f"a step answers every frame as it comes: here one got {answers.shape[1]} answers")
    return answers[:, 0], after


def _tensors(states: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the layers' states, each under the layer's name and its place in the state.

    Raises:
        UsageError: for a state of anything but tensors.
    """
    for name, state in states.items():
        if isinstance(state, Tensor):
            yield name, state
        elif isinstance(state, tuple):
            yield from _tensors({f"{name}.{place}": part for place, part in enumerate(state)})
        elif state is not None:
            raise UsageError(f"{name} remembers a {type(state).__name__}: a step's states are tensors")


def _places(state: Any) -> Any:
    return tuple(map(_places, state)) if isinstance(state, tuple) else None if state is None else True


def _filled(places: Any, tensors: Iterator[Since]) -> Any:
    """A state with the next tensors in its places."""
    if isinstance(places, tuple):
        return tuple(_filled(part, tensors) for part in places)
    return None if places is None else next(tensors)


def _with_batch_free(of_two: Tensor, of_three: Tensor) -> Shape:
    """The shape of a state of 2 and of 3 videos."""
    return tuple(a if a == b else None for a, b in zip(of_two.shape, of_three.shape, strict=True))
