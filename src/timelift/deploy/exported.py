"""An exported file at work in Python: the network on clips, or a stream's step by step."""

from pathlib import Path
from typing import Any

from torch import Tensor

from timelift.deploy.facts import ExportFacts, from_json
from timelift.deploy.files import SUFFIXES, Opened, file_format, format_of
from timelift.deploy.stepped import Stepped
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
        _check("clips", clip, self.facts)
        return self._run([clip])[0]


class ExportedStep(Stepped):
    """A stream through a file."""

    def __init__(self, opened: Opened, facts: ExportFacts):
        super().__init__(opened.run, facts.states)
        self.facts = facts

    def check(self, frame: Tensor) -> None:
        """Raise a UsageError for a frame of another shape or number format than the file's."""
        _check("frames", frame, self.facts)


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


def _check(name: str, given: Tensor, facts: ExportFacts) -> None:
    if tuple(given.shape[1:]) != facts.shape or str(given.dtype) != f"torch.{facts.takes}":
        raise UsageError(
            f"this file takes {name} (B, {', '.join(map(str, facts.shape))}) of {facts.takes}; these are "
            f"{tuple(given.shape)} of {str(given.dtype).removeprefix('torch.')}"
        )
