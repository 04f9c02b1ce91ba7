"""checkpoint.pt: everything that is needed to go on as if nothing had happened, whole or not there."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from timelift.records import DataError, Recipe, UsageError
from timelift.records.recipe import recipe_to_dict
from timelift.records.whole import whole

NAME = "checkpoint.pt"


def identity(model: nn.Module, groups: Mapping[str, str], recipe: Recipe) -> dict[str, Any]:
    """What must be equal for a run to be the same run: flat, so that a difference can be named."""
    parts = {
        "recipe": recipe_to_dict(recipe),
        "shape": {n: list(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())},
        "group": dict(groups),
    }
    return dict(_flatten(parts, ""))


def _flatten(value: Any, path: str):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(
                inner, f"{path} {key}" if path in ("shape", "group") else f"{path}.{key}".lstrip(".")
            )
    else:
        yield path, value


def write_checkpoint(state: dict, folder: Path) -> None:
    """Write checkpoint.pt so that a crash at any moment leaves the old one or the new one."""
    with whole(folder / NAME) as partial, partial.open("wb") as file:
        torch.save(state, file)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_checkpoint(folder: Path, wanted: dict[str, Any]) -> dict | None:
    """The state stored in a folder, tensors on the CPU; None where there is none.

    wanted: the `identity` of the run that asks, and what else must be equal.

    Raises:
        UsageError: if it is another run's, naming the differences.
        DataError: if the file cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = _DEFAULTS | state["identity"]  # what a release has not known had its default
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path} is not a checkpoint that can be read: delete it to train from the start"
        ) from error
    if differences := _differences(stored, wanted):
        raise UsageError(
            f"{path} is of another run ({differences}): ask for the same run to go on with it, "
            "or choose another folder"
        )
    return state


def discard_checkpoint(folder: Path) -> None:
    """Remove checkpoint.pt, once the run's weights are stored elsewhere."""
    (folder / NAME).unlink(missing_ok=True)
    (folder / (NAME + ".partial")).unlink(missing_ok=True)


_DEFAULTS = dict(_flatten({"recipe": recipe_to_dict(Recipe())}, ""))


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    missing = "missing"
    names = [n for n in {**stored, **wanted} if stored.get(n, missing) != wanted.get(n, missing)]
    shown = [f"{n} was {stored.get(n, missing)}, now {wanted.get(n, missing)}" for n in names[:3]]
    return "; ".join(shown) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
