"""SlidingClips: any video network on the last frames of a stream, in overlapping clips of one length."""

import copy
from typing import Any

import torch
from torch import Tensor

from timelift.deploy.prefix import Prefix
from timelift.deploy.stream import StreamAnswer, check_eval, check_frame
from timelift.lifting import VideoModel
from timelift.records.errors import UsageError

_STATE = ("clips", "frames_seen", "shape", "waiting", "kept", "answer")


class SlidingClips:
    """One frame after another, answered as the clip of the last `frames` of them; for every network.

    What the network does before it looks through time it does once a frame; from there on each answer costs a
    clip. A `Stream` costs less where there is one, and knows all frames.
    """

    def __init__(self, video: VideoModel, frames: int, every: int = 1):
        """Clips of `frames` frames, one answer every `every` frames from the first full clip on.

        Raises:
            UsageError: for a network in train mode, or less than one frame.
        """
        check_eval(video)
        if frames < 1 or every < 1:
            raise UsageError(f"clips of {frames} frame(s), one every {every}: at least 1 of both")
        self.video, self.frames, self.every = video, frames, every
        self._clips = (frames, every)
        self._prefix: Prefix | None = None  # known with the size of the frames
        self.reset()

    @property
    def delay(self) -> int:
        """Frames that pass without an answer at the beginning: all of a clip but its last."""
        return self.frames - 1

    def reset(self) -> None:
        """Forget all frames: the next one begins another video."""
        self._frames_seen = 0
        self._shape: tuple[int, ...] = ()
        self._waiting: tuple[Tensor, ...] = ()  # frames (B, C, H, W) that were not worked on yet
        self._kept: tuple[Tensor, ...] = ()  # what the prefix gave for each frame before them, (B, ...)
        self._answer: tuple[Tensor | None, Tensor | None] = (None, None)

    def step(self, frame: Tensor) -> StreamAnswer:
        """The next frame (B, C, H, W) of B videos; `clip_logits` equals `video(the last frames)`.

        Both logits are None before the first full clip, and stay as they are between two answers. A step that
        raises leaves all as it was.

        Raises:
            UsageError: for a frame of another shape than those before it.
        """
        check_frame(self.video, frame, self._shape)
        seen, waiting = self._frames_seen + 1, (*self._waiting, frame.clone())[-self.frames :]
        if seen >= self.frames and (seen - self.frames) % self.every == 0:
            kept = self._with_features(waiting)
            rows = self._rows(kept, frame[:1])
            self._kept, self._answer = kept, (rows[:, -1], self.video.consensus(rows))
            waiting = ()
        self._frames_seen, self._shape, self._waiting = seen, tuple(frame.shape), waiting
        return StreamAnswer(*self._answer, seen)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step needs beside the network, for torch.save."""
        return {name: copy.copy(getattr(self, f"_{name}")) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where other clips of the same length over the same network stood.

        Raises:
            UsageError: for what is no such state.
        """
        if set(state) != set(_STATE):
            raise UsageError(f"this is no state of clips: it holds {', '.join(map(str, state)) or 'nothing'}")
        if state["clips"] != self._clips:
            theirs, ours = (
                "{} frames, one every {}".format(*clips) for clips in (state["clips"], self._clips)
            )
            raise UsageError(f"this is the state of clips of {theirs}; these are of {ours}")
        for name in _STATE:
            setattr(self, f"_{name}", copy.copy(state[name]))

    def _with_features(self, frames: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What is kept of the clip's earlier frames, and what the prefix gives for these."""
        if self._prefix is None:
            self._prefix = Prefix(self.video, frames[0], self.frames)
        together = torch.cat(frames).contiguous(memory_format=torch.channels_last)  # frame by frame, B each
        new = self._prefix.features(together).unflatten(0, (len(frames), -1)).unbind(0)
        return (*self._kept, *new)[-self.frames :]

    def _rows(self, kept: tuple[Tensor, ...], frame: Tensor) -> Tensor:
        """(B, T', K) of clips of these."""
        assert self._prefix is not None
        clips = len(kept[0])
        features = torch.stack(kept, dim=1).flatten(0, 1)  # (B * T, ...)
        if features.dim() == 4:
            features = features.contiguous(memory_format=torch.channels_last)
        return self._prefix.per_frame(features, clips, frame)
