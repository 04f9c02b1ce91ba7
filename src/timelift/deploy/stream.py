"""Stream: a video network that takes one frame after another and answers what it answers to all of them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from timelift.clip import Advancing, Clipwise
from timelift.conversions.errors import ConversionError
from timelift.conversions.past import advance, check_stream
from timelift.lifting import VideoModel, mean_consensus
from timelift.records.errors import UsageError


@dataclass(frozen=True, eq=False)
class StreamAnswer:
    """After a step: the newest frame's logits (B, K), those of all frames so far (B, K), and how many."""

    frame_logits: Tensor
    clip_logits: Tensor
    frames_seen: int


class Stream:
    """One frame after another through a causal network: every step costs one frame, whatever came before.

    Each layer that looks through time keeps its own past; all others see frames anyway.
    """

    def __init__(self, video: VideoModel):
        """A stream at its beginning.

        Raises:
            UsageError: for a network in train mode, or with a layer that needs frames to come; it is named.
        """
        if not isinstance(video, VideoModel):
            raise UsageError(
                f"a stream takes a lifted network (VideoModel), and a {type(video).__name__} came"
            )
        _check_eval(video)
        self.video = video
        self._names = {m: name for name, m in video.named_modules() if isinstance(m, Clipwise)}
        for layer in self._names:
            try:
                check_stream(layer.on_clips)
            except ConversionError as error:
                raise UsageError(f"no stream through this network: {layer.name} {error}") from error
        self.reset()

    @property
    def delay(self) -> int:
        """Frames that an answer waits for: none, every layer is causal."""
        return 0

    def reset(self) -> None:
        """Forget all frames: the next one begins another video."""
        self._frames_seen = 0
        self._shape: tuple[int, ...] = ()
        self._logits: tuple[Tensor, ...] = ()  # their running mean alone, where the consensus is the mean
        self._layers: dict[str, Any] = {}  # a layer's run -> its state

    def step(self, frame: Tensor) -> StreamAnswer:
        """The next frame (B, C, H, W) of B videos; `clip_logits` equals `video(all frames so far)`.

        A step that raises leaves the stream as it was.

        Raises:
            UsageError: for a frame of another shape than those before it.
        """
        self._check(frame)
        states = _Step(self._names, self._layers)
        with torch.no_grad(), Advancing(states):
            logits = self.video.per_frame(frame.unsqueeze(2))[:, 0]  # (B, K)
        seen = self._frames_seen + 1
        summary = self._summed_up(logits, seen)
        clip_logits = self._consensus(summary).to(logits.dtype)
        self._frames_seen, self._shape = seen, tuple(frame.shape)
        self._logits, self._layers = summary, states.after
        return StreamAnswer(logits, clip_logits, seen)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step needs beside the network, for torch.save."""
        return {
            "frames_seen": self._frames_seen,
            "shape": self._shape,
            "logits": self._logits,
            "layers": dict(self._layers),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream over the same network stood.

        Raises:
            UsageError: for what is no stream's state, or that of another network.
        """
        if set(state) != {"frames_seen", "shape", "logits", "layers"}:
            raise UsageError(f"this is no stream's state: it holds {', '.join(map(str, state)) or 'nothing'}")
        there, own = {key.partition("#")[0] for key in state["layers"]}, set(self._names.values())
        if state["frames_seen"] and there != own:
            differing = ", ".join(sorted(there ^ own)[:3])
            raise UsageError(f"this is the state of another network's stream: {differing}")
        self._frames_seen, self._shape = int(state["frames_seen"]), tuple(state["shape"])
        self._logits, self._layers = tuple(state["logits"]), dict(state["layers"])

    def _check(self, frame: Tensor) -> None:
        _check_eval(self.video)
        if frame.dim() != 4:
            raise UsageError(f"a frame is (B, C, H, W); this tensor is {tuple(frame.shape)}")
        if self._shape and tuple(frame.shape) != self._shape:
            raise UsageError(
                f"the frame is {tuple(frame.shape)}, those before it {self._shape}: reset() for another video"
            )

    def _summed_up(self, logits: Tensor, seen: int) -> tuple[Tensor, ...]:
        """What the consensus needs of all frames: their mean, or each one's logits."""
        if self.video.consensus is not mean_consensus:
            return (*self._logits, logits)
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        before = self._logits[0] if self._logits else torch.zeros_like(exact)
        return (before + (exact - before) / seen,)

    def _consensus(self, summary: tuple[Tensor, ...]) -> Tensor:
        if self.video.consensus is mean_consensus:
            return summary[0]
        return self.video.consensus(torch.stack(summary, dim=1))  # (B, T, K) -> (B, K)


def _check_eval(video: VideoModel) -> None:
    if video.training:
        raise UsageError(
            "the network is in train mode, where frames change each other: call video.eval() first"
        )


class _Step:
    """One frame's way through the layers: each takes the state of the step before and leaves a new one."""

    def __init__(self, names: dict[Clipwise, str], before: dict[str, Any]):
        self.names, self.before = names, before
        self.after: dict[str, Any] = {}
        self._runs = Counter[str]()

    def __call__(self, layer: Clipwise, clip: Tensor) -> Tensor:
        name = self.names[layer]
        key = f"{name}#{self._runs[name]}"  # a layer that runs twice in a forward has two pasts
        self._runs[name] += 1
        answer, self.after[key] = advance(layer.on_clips, clip, self.before.get(key))
        return answer
