"""An exported file at work in Python: the network on clips, or a stream's step by step."""

from pathlib import Path
from typing import Any

from torch import Tensor

from timelift.deploy.facts import ExportFacts, from_json
from timelift.deploy.files import SUFFIXES, Opened, file_format, format_of
from timelift.deploy.step import zero_states
from timelift.deploy.stream import StreamAnswer
from timelift.records import DataError, UsageError


class ExportedModel:
    """A network on clips: what a VideoModel in eval says of itself, and its answers, on this CPU."""

    def __init__(self, opened: Opened, facts: ExportFacts):
        self.facts = facts
        self.classes, self.several_labels = facts.classes, facts.several_labels
        self.transform: Any = None  # decoded frames -> what the file takes, where it is a run's
        self._run = opened.run

    def __call__(self, clip: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, K).

        Raises:
            UsageError: for clips of another shape or number format than the file's.
        """
        wanted, number = self.facts.shape, self.facts.takes
        if tuple(clip.shape[1:]) != wanted or str(clip.dtype) != f"torch.{number}":
            raise UsageError(
                f"this file takes clips (B, {', '.join(map(str, wanted))}) of {number}; these are "
                f"{tuple(clip.shape)} of {str(clip.dtype).removeprefix('torch.')}"
            )
        return self._run([clip])[0]


class ExportedStep:
    """A stream through a file: `step` as `Stream` has it, its states held here."""

    def __init__(self, opened: Opened, facts: ExportFacts):
        self.facts = facts
        self._run = opened.run
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one begins another video."""
        self._states: list[Tensor] | None = None

    def step(self, frame: Tensor) -> StreamAnswer:
        """The next frame (B, C, H, W) of B videos."""
        states = zero_states(self.facts.states, len(frame)) if self._states is None else self._states
        frame_logits, *self._states = self._run([frame, *states])
        seen, clip_logits = self._states[:2]
        return StreamAnswer(frame_logits, clip_logits, int(seen))


def open_exported(path: Path | str) -> ExportedModel | ExportedStep:
    """A file of `export` or `export_step`.

    Raises:
        DataError: if it is not there, or is none. UsageError: without the package that runs it.
    """
    path = Path(path)
    name = format_of(path)
    if name is None:
        raise UsageError(f"{path} is no exported file: those end in {', '.join(SUFFIXES.values())}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        opened = file_format(name).read(path)
    except UsageError:
        raise
    except Exception as error:  # each run-time has its own
        raise DataError(f"{path} cannot be opened as {name}: {' '.join(str(error).split())[:200]}") from error
    facts = from_json(opened.text, str(path))
    return ExportedModel(opened, facts) if facts.kind == "clips" else ExportedStep(opened, facts)
