"""The named systems of the papers: one short file each, made of the same conversions that users have."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from timelift.lifting import VideoModel
from timelift.records.errors import UsageError
from timelift.systems.lenet5 import lenet5_3d

SYSTEMS: dict[str, Callable[..., VideoModel]] = {"lenet5_3d": lenet5_3d}


def list_models(pattern: str = "*") -> list[str]:
    """The names that `create_model` knows and that match, in order: list_models("lenet*")."""
    return sorted(name for name in SYSTEMS if fnmatchcase(name, pattern))


def create_model(name: str, **options: object) -> VideoModel:
    """A system by name, with its own options: create_model("lenet5_3d", classes=10).

    Raises:
        UsageError: for an unknown name, or options that the system does not have.
    """
    if name not in SYSTEMS:
        raise UsageError(f"there is no system {name!r}; there are {', '.join(list_models())}")
    try:
        return SYSTEMS[name](**options)
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from error
