"""Stream: a video network that takes one frame after another and answers what it answers to all of them."""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timelift.clip import Advancing, Clipwise, Tokenwise
from timelift.conversions.errors import ConversionError
from timelift.conversions.past import NotYet, advance, look_ahead, parts_of, revise, window_of
from timelift.lifting import VideoModel, mean_consensus
from timelift.networks.trace import example_frames
from timelift.records.errors import UsageError

_PATIENCE = 512  # frames without an answer, after which none is expected
_STATE = ("frames_seen", "shape", "runs", "waiting", "unsettled", "summary", "answer", "layers")


@dataclass(frozen=True, eq=False)
class StreamAnswer:
    """After a step: the newest frame's logits (B, K), those of all frames so far (B, K), and how many.

    Both are None until the delay has passed. Where a network strides in time they stay as they are until a
    frame comes that changes them.
    """

    frame_logits: Tensor | None
    clip_logits: Tensor | None
    frames_seen: int


class Stream:
    """One frame after another through a network: each answer is the network's to all frames so far.

    A causal network works once on every frame, whatever came before. Where it strides in time, frames wait,
    and are worked on together when an answer is due. A network of stride 1 whose answers look ahead works on
    the last `look_ahead` frames again at every step, since the frame that comes changes what they answer.
    Each layer that looks through time keeps its own past; all others see frames anyway.
    """

    def __init__(self, video: VideoModel):
        """A stream at its beginning.

        Raises:
            UsageError: for a network in train mode, or with a layer that sees the whole clip, or looks ahead
                where time is strided or not padded; it is named.
        """
        if not isinstance(video, VideoModel):
            raise UsageError(
                f"a stream takes a lifted network (VideoModel), and a {type(video).__name__} came"
            )
        check_eval(video)
        self.video = video
        self._names = {m: name for name, m in video.named_modules() if isinstance(m, Clipwise)}
        self._ahead = {name: _ahead(layer) for layer, name in self._names.items()}
        waiting = [layer.name for layer in self._names if any(map(_waits, parts_of(layer.on_clips)))]
        _check_lengths([layer.name for layer, name in self._names.items() if self._ahead[name]], waiting)
        self._rhythm = None if waiting else (1, 1)  # frames up to the first answer, and between two
        self.holds_frames = bool(waiting) or any(self._ahead.values())  # beyond the step that they came in
        self.summarises = any(getattr(module, "summarises", False) for module in video.modules())
        self.reset()

    @property
    def delay(self) -> int:
        """Frames that pass without an answer at the beginning: the shortest clip's, less one."""
        return self._known_rhythm()[0] - 1

    @property
    def every(self) -> int:
        """Frames from one answer to the next."""
        return self._known_rhythm()[1]

    @property
    def look_ahead(self) -> int:
        """Frames that every step works on again, since their answers see the frames behind them."""
        return sum(self._ahead[name] * runs for name, runs in self._runs.items())

    def reset(self) -> None:
        """Forget all frames: the next one begins another video."""
        self._frames_seen = 0
        self._shape: tuple[int, ...] = ()
        self._runs: dict[str, int] = dict.fromkeys(self._names.values(), 1)  # of each layer in a forward
        self._waiting: tuple[Tensor, ...] = ()  # frames that were not worked on yet
        self._unsettled: tuple[Tensor, ...] = ()  # frames that are worked on again
        self._summary: Any = None  # of the answers that stay: their mean, where that is the consensus, or all
        self._answer: tuple[Tensor | None, Tensor | None] = (None, None)
        self._layers: dict[str, Any] = {}  # a layer's run -> its state

    def step(self, frame: Tensor) -> StreamAnswer:
        """The next frame (B, C, H, W) of B videos; `clip_logits` equals `video(all frames so far)`.

        A step that raises leaves the stream as it was.

        Raises:
            UsageError: for a frame of another shape than those before it.
        """
        check_frame(self.video, frame, self._shape)
        if self._rhythm is None:
            self._rhythm = self._found(frame) or (1, 1)  # (1, 1): every frame is a try
        waiting = (*self._waiting, frame.clone() if self.holds_frames else frame)
        seen = self._frames_seen + 1
        if len(waiting) >= self._rhythm[self._answer[0] is not None]:
            try:
                self._work((*self._unsettled, *waiting))
                waiting = ()
            except NotYet:
                pass  # a layer has no answer before more frames come
        self._frames_seen, self._shape, self._waiting = seen, tuple(frame.shape), waiting
        return StreamAnswer(*self._answer, seen)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step needs beside the network, for torch.save."""
        return {name: copy.copy(getattr(self, f"_{name}")) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream over the same network stood.

        Raises:
            UsageError: for what is no stream's state, or that of another network.
        """
        if set(state) != set(_STATE):
            raise UsageError(f"this is no stream's state: it holds {', '.join(map(str, state)) or 'nothing'}")
        differing = sorted(set(state["runs"]) ^ set(self._names.values()))
        if differing:
            raise UsageError(f"this is the state of another network's stream: {', '.join(differing[:3])}")
        for name in _STATE:
            setattr(self, f"_{name}", copy.copy(state[name]))

    def _work(self, frames: tuple[Tensor, ...]) -> None:
        """The frames through the network; all that follows is kept when nothing can fail any more."""
        ahead = self.look_ahead
        settled = max(0, len(frames) - ahead)
        run = _Step(self._names, self._layers, settled if ahead else None)
        with torch.no_grad(), Advancing(run):
            rows = self.video.per_frame(torch.stack(frames, dim=2))  # (B, n, K)
        summary, clip_logits = self._summed_up(rows, settled)
        self._runs = {name: run.runs[name] for name in self._names.values()}
        self._unsettled, self._layers = frames[settled:], run.after
        self._summary, self._answer = summary, (rows[:, -1], clip_logits)

    def _summed_up(self, rows: Tensor, settled: int) -> tuple[Any, Tensor]:
        """What is kept of the answers that stay, and the consensus (B, K) of these and all others."""
        if self.summarises:
            return None, self.video.consensus(rows)  # each row is that of all frames
        stay, pass_by = rows[:, :settled], rows[:, settled:]
        if self.video.consensus is mean_consensus:
            kept = _mean_with(self._summary, stay)
            return kept, _mean_with(kept, pass_by)[0].to(rows.dtype)
        before = self._summary or ()
        return (*before, stay), self.video.consensus(torch.cat([*before, rows], dim=1))

    def _known_rhythm(self) -> tuple[int, int]:
        if self._rhythm is None:
            found = map(self._found, example_frames(self.video.image_net))
            self._rhythm = next((rhythm for rhythm in found if rhythm), None)
        if self._rhythm is None:
            raise UsageError("the delay follows from the size of the frames: step() once before you ask")
        return self._rhythm

    def _found(self, frame: Tensor) -> tuple[int, int] | None:
        """Frames up to the first answer, and between two; None where a twin without numbers cannot run."""
        twin = Stream(copy.deepcopy(self.video).to("meta"))
        twin._rhythm = (1, 1)
        still = torch.zeros_like(frame[:1], device="meta")
        answered: list[int] = []
        try:
            while len(answered) < 2:
                before = twin._answer
                seen = twin.step(still).frames_seen
                if twin._answer is not before:
                    answered.append(seen)
                if len(twin._waiting) > _PATIENCE:
                    return None
        except RuntimeError:
            return None
        return answered[0], answered[1] - answered[0]


def _mean_with(summary: tuple[Tensor, int] | None, rows: Tensor) -> tuple[Tensor, int]:
    """A mean (B, K) in float32 at least, and of how many; with more rows (B, n, K)."""
    if summary is not None and rows.shape[1] == 0:
        return summary
    exact = rows.to(torch.promote_types(rows.dtype, torch.float32)).sum(dim=1)
    before, number = (torch.zeros_like(exact), 0) if summary is None else summary
    more = rows.shape[1]
    return before + (exact - more * before) / max(1, number + more), number + more


def _ahead(layer: Clipwise) -> int:
    try:
        return look_ahead(layer.on_clips)
    except ConversionError as error:
        raise UsageError(f"no stream through this network: {layer.name} {error}") from error


def _waits(module: nn.Module) -> bool:
    window = window_of(module)
    return window is not None and not window.keeps_length


def _check_lengths(ahead: list[str], waiting: list[str]) -> None:
    if ahead and waiting:
        raise UsageError(
            f"no stream through this network: {ahead[0]} sees frames behind its own, and {waiting[0]} "
            "changes the number of frames: take causal=True there, or stride='none' and another padding here"
        )


def check_eval(video: VideoModel) -> None:
    """Raise a UsageError for a network in train mode."""
    if video.training:
        raise UsageError(
            "the network is in train mode, where frames change each other: call video.eval() first"
        )


def check_frame(video: VideoModel, frame: Tensor, before: tuple[int, ...]) -> None:
    """Raise a UsageError for a frame that cannot stand behind those of the shape `before`; () for none."""
    check_eval(video)
    if frame.dim() != 4:
        raise UsageError(f"a frame is (B, C, H, W); this tensor is {tuple(frame.shape)}")
    if before and tuple(frame.shape) != before:
        raise UsageError(
            f"the frame is {tuple(frame.shape)}, those before it {before}: reset() for another video"
        )


class _Step:
    """A piece's way through the layers: each takes the state of the piece before and leaves a new one.

    settled: frames of the piece that come for the last time; None where no layer looks ahead.
    """

    def __init__(self, names: dict[Clipwise, str], before: dict[str, Any], settled: int | None):
        self.names, self.before, self.settled = names, before, settled
        self.after: dict[str, Any] = {}
        self.runs = Counter[str]()

    def __call__(self, layer: Clipwise, clip: Tensor) -> Tensor:
        name = self.names[layer]
        key = f"{name}#{self.runs[name]}"  # a layer that runs twice in a forward has two pasts
        self.runs[name] += 1
        module, state = layer.on_clips, self.before.get(key)
        if self.settled is None:
            answer, self.after[key] = advance(module, clip, state)
        else:
            time = 1 if isinstance(layer, Tokenwise) else 2
            answer, self.after[key] = revise(module, clip, state, self.settled, time)
        return answer
