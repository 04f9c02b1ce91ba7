"""A trained network that follows a video as it comes: what it says of the last moments, over time."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from timelift.data.live import LiveFrame
from timelift.deploy.frozen_stream import FrozenStream, optimize_stream
from timelift.deploy.sliding import SlidingClips
from timelift.deploy.stream import Stream
from timelift.lifting import VideoModel
from timelift.records import UsageError
from timelift.records.predictions import sigmoid, softmax

_PATIENCE = 512  # frames that a video's last one may stand for


class Follower:
    """One decoded frame after another -> the classes' probabilities now, by a trained network (`load`).

    Frame by frame where the network streams at less than a clip's work; else in clips of the length that it
    was trained on, which overlap.
    """

    def __init__(
        self,
        model: VideoModel,
        device: torch.device,
        average: int | None = None,
        every: int = 0,
        optimize: bool = False,
    ):
        """A follower at the beginning of a video.

        average: where it goes frame by frame, the answers to so many newest frames are averaged, each as it
            was when its frame was the newest; None: a clip's.
        every: frames between two answers, where clips overlap; 0: a quarter of a clip.
        optimize: take the stream that is measured the quickest (`optimize_stream`).

        Raises:
            UsageError: for a network on optical flow.
        """
        self.model, self.device, self.clip = model, device, model.transform.clip
        if self.clip.channels == 2:
            raise UsageError(
                "this network takes optical flow, which does not come frame by frame: `timelift flow` the "
                "video, then `timelift predict`"
            )
        self.average = average or self.clip.frames
        self.stream, self.words = _stream(model, self.clip.frames, every or max(1, self.clip.frames // 4))
        if optimize and isinstance(self.stream, Stream):
            choice = optimize_stream(model, model.transform.example(1)[:, :, 0].to(device))
            self.stream = choice.stream
            self.words += f"; as it is: {choice.left_out}" if choice.left_out else ""
            self.words += "" if choice.left_out else f"; frozen, {choice.speedup:.2f} times as fast"
        elif optimize:
            self.words += "; as it is: only streams are optimized"
        self._due = 0  # the video's frame from which on the network sees the next one
        self._last: Tensor | None = None  # the frame that it saw last
        self._rows: deque[Tensor] = deque()
        self._heard: Tensor | None = None

    def step(self, index: int, pixels: np.ndarray) -> np.ndarray | None:
        """The video's next frame, (H, W, C) uint8 -> probabilities (K,), if there are new ones.

        index: the frame's number. The network sees every `stride`-th, as in training; of a dropped one's the
        next that comes.
        """
        if index < self._due:
            return None
        stride = self.clip.stride
        self._due = index // stride * stride + stride
        self._last = self.model.transform(pixels[None])[:, :, 0].to(self.device)  # (1, C, H, W)
        return self._stepped(self._last)

    def finish(self) -> np.ndarray | None:
        """The end of a video too short for an answer: its last frame repeats, as in `timelift predict`."""
        for _ in range(_PATIENCE):
            if self._last is None or self._heard is not None:
                break
            answer = self._stepped(self._last)
            if answer is not None:
                return answer
        return None

    def _stepped(self, frame: Tensor) -> np.ndarray | None:
        answer = self.stream.step(frame)
        if answer.clip_logits is self._heard or answer.clip_logits is None or answer.frame_logits is None:
            return None
        self._heard = logits = answer.clip_logits
        if not isinstance(self.stream, SlidingClips):
            self._rows.append(answer.frame_logits)
            while len(self._rows) * self.stream.every > max(self.average, self.stream.every):
                self._rows.popleft()
            logits = self.model.consensus(torch.stack(list(self._rows), dim=1))
        return (sigmoid if self.model.several_labels else softmax)(logits[0].float().cpu().numpy())


def follow(frames: Iterable[LiveFrame], follower: Follower) -> Iterator[tuple[LiveFrame, np.ndarray | None]]:
    """Every frame that comes, with the probabilities (K,) where there are new ones.

    The last frame of a video that was too short for an answer comes once more, with one.
    """
    frame = None
    for frame in frames:
        yield frame, follower.step(frame.index, frame.pixels)
    late = follower.finish()
    if frame is not None and late is not None:
        yield frame, late


def _stream(model: VideoModel, frames: int, every: int) -> tuple[Stream | FrozenStream | SlidingClips, str]:
    """What takes the frames, and in one line why it is that."""
    why = ""
    try:
        stream = Stream(model)
        if stream.summarises:
            why = "its head averages the whole clip, which would be all that came"
        elif stream.look_ahead >= frames:
            why = f"its answers look {stream.look_ahead} frames ahead, and a clip has {frames}"
        else:
            again = f", the last {stream.look_ahead} of them again with each" if stream.look_ahead else ""
            return stream, f"frame by frame{again}"
    except UsageError as error:
        why = str(error).removeprefix("no stream through this network: ")
    told = f"not frame by frame ({why}): clips of {frames} frames that overlap, one every {every}"
    return SlidingClips(model, frames, every), told
