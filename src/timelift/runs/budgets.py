"""A budget of seconds, made one of steps: timed once for each kind of run, and the same for all its seeds."""

import json
from collections.abc import Mapping
from pathlib import Path

from timelift.comparison.axes import Point
from timelift.comparison.study import Study
from timelift.records import DataError
from timelift.records.whole import write_text_whole
from timelift.runs.kinds import Kind, kinds_of

_FILE = "budgets.json"  # in the study's folder: kind -> optimiser steps, and seconds that one took


def without_budget(study: Study, folder: Path) -> set[str]:
    """The kinds of runs, in words, that `seconds` gives no number of steps yet; none without `seconds`."""
    return (
        set() if study.seconds is None else {str(kind) for _, kind in kinds_of(study)} - _read(folder).keys()
    )


def state_budgets(study: Study, folder: Path, step_seconds: Mapping[str, float]) -> None:
    """Write down how many steps `seconds` gives each kind; what is written stays, for runs added later."""
    assert study.seconds is not None
    stated = {
        kind: {"steps": max(1, round(study.seconds / step)), "seconds_a_step": step}
        for kind, step in step_seconds.items()
    }
    write_text_whole(folder / _FILE, json.dumps(stated | _read(folder), indent=2) + "\n")


def steps_within(study: Study, folder: Path, kind: Kind) -> tuple[Point, tuple[str, ...]]:
    """The field of the recipe that keeps a run within `seconds`, and a note; nothing without `seconds`.

    Raises:
        DataError: if nothing was written down for this kind.
    """
    if study.seconds is None:
        return (), ()
    budget = _read(folder).get(str(kind))
    if budget is None:
        raise DataError(f"{folder / _FILE} says nothing of {kind}: run `timelift compare` again")
    steps, step = int(budget["steps"]), budget["seconds_a_step"]
    note = f"{steps:,} optimiser steps: {study.seconds:g} s at {1e3 * step:.3g} ms a step, timed beforehand"
    return (("training.steps", steps),), (note,)


def _read(folder: Path) -> dict[str, dict[str, float]]:
    path = folder / _FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
