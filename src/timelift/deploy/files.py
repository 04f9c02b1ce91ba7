"""The formats of exported files: how each is written, and how it is opened again to be run on this CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from torch import Tensor

from timelift.deploy.program import Program
from timelift.records import UsageError

_FILES = {"torch": "torch_file", "onnx": "onnx_file", "openvino": "openvino_file"}
SUFFIXES = {"torch": ".pt2", "onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True, eq=False)
class Opened:
    """A file ready to be run: inputs by place -> outputs by place; and the text that was stored with it."""

    run: Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
    text: str


class FileFormat(Protocol):
    """What a module of a format has; NEEDS: the packages without which it cannot write and read."""

    NEEDS: tuple[str, ...]

    def write(self, program: Program, text: str, path: Path) -> None:
        """Write the program with a text; further files may stand beside the path, with its stem."""

    def read(self, path: Path) -> Opened:
        """Open it on the CPU, in float32, with PyTorch's number of threads."""


def format_of(path: Path) -> str | None:
    """The format whose suffix a path has, if it has one of them."""
    return next((name for name, suffix in SUFFIXES.items() if path.suffix == suffix), None)


def file_format(name: str) -> FileFormat:
    """The format's module; what it needs is imported when it is called.

    Raises:
        UsageError: for a format that there is not.
    """
    if name not in _FILES:
        raise UsageError(f"there is no format {name!r}; there are {', '.join(_FILES)}")
    return import_module(f"timelift.deploy.{_FILES[name]}")  # type: ignore[return-value]


def needed(format: str, *packages: str) -> None:
    """Raise a UsageError with the remedy where an optional package is not there."""
    for package in packages:
        try:
            import_module(package)
        except ImportError as error:
            raise UsageError(f"the format {format} needs {package}: pip install timelift[export]") from error
