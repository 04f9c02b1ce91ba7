"""A stream whose past is a handful of tensors, which one step takes and gives back: see `deploy.step`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from timelift.deploy.step import MEAN, Shape, zero_states
from timelift.deploy.stream import StreamAnswer
from timelift.records import UsageError

Step = Callable[[list[Tensor]], Sequence[Tensor]]  # frame, states -> frame's logits, states


class Stepped:
    """`step`, as `Stream` has it, of a network that answers every frame as it comes."""

    def __init__(self, run: Step, shapes: dict[str, Shape]):
        self._run, self._shapes = run, shapes
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one begins another video."""
        self._states: list[Tensor] = []

    def check(self, frame: Tensor) -> None:
        """Raise a UsageError for a frame that the step does not take."""

    def step(self, frame: Tensor) -> StreamAnswer:
        """The next frame (B, C, H, W) of B videos; `clip_logits` equals `video(all frames so far)`.

        Raises:
            UsageError: for a frame of another shape than the step takes.
        """
        self.check(frame)
        if self._states and len(self._states[1]) != len(frame):
            raise UsageError(
                f"the frame is one of {len(frame)} videos, those before it were of {len(self._states[1])}: "
                "reset() begins others"
            )
        states = self._states or [s.to(frame.device) for s in zero_states(self._shapes, len(frame))]
        frame_logits, *self._states = self._run([frame, *states])
        seen, clip_logits = self._states[:2]
        return StreamAnswer(frame_logits, clip_logits, int(seen))

    def state_dict(self) -> dict[str, Any]:
        """All that the next step needs beside the network, for torch.save; {} before the first frame."""
        return dict(zip(self._shapes, self._states, strict=True)) if self._states else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream of this kind over the same network stood.

        Raises:
            UsageError: for the state of another network or of another kind of stream.
        """
        if state and not self._is_ours(state):
            raise UsageError("this is not the state of this network's stream in this form")
        self._states = list(state.values())

    def _is_ours(self, state: dict[str, Any]) -> bool:
        tensors = list(state.values())
        if list(state) != list(self._shapes) or not all(isinstance(one, Tensor) for one in tensors):
            return False
        if state[MEAN].dim() == 0:
            return False
        zeros = zero_states(self._shapes, len(state[MEAN]))
        return [one.shape for one in tensors] == [one.shape for one in zeros]
