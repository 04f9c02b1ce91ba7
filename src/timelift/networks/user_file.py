"""A name out of a user's own Python file: my_file.py:MyConversion, my_file.py:my_network."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from timelift.records.errors import DataError, UsageError


def load_object(path: Path, name: str) -> Any:
    """Something by name from a user's own Python file; the same object until the file changes.

    Raises:
        DataError: if there is no such file, or it fails.
        UsageError: if the file does not have the name.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    module = _module(path)
    if not hasattr(module, name):
        raise UsageError(f"{path} has no {name!r}")
    return getattr(module, name)


def _module(path: Path) -> ModuleType:
    """Kept among Python's own modules, where dataclasses look, under a name of path and content."""
    digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:16]
    name = f"timelift_user_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code
        del sys.modules[name]
        raise DataError(f"{path} failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
    return module
