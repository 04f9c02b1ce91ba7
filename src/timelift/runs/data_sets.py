"""Finished studies, each on a data set of its own, read back to be put together."""

import os
from collections.abc import Sequence
from pathlib import Path

from timelift.comparison.study_file import parse_study
from timelift.comparison.table import StudyTable, study_table
from timelift.records.errors import UsageError
from timelift.runs.study import Finished, finished


def tables_of(folders: Sequence[Path]) -> list[tuple[str, StudyTable]]:
    """Of every study the name of its data set, and its table; no look is recorded, as no verdict is drawn.

    The name is the study's; where two studies have the same, the folder's path.

    Raises:
        DataError: for a folder that holds no study, or none with a finished run.
        UsageError: for a study at several conditions, or two of the same videos.
    """
    found = [(Path(folder), _one_condition(Path(folder))) for folder in folders]
    _own_videos(found)
    names = [one.study.name for _, one in found]
    called = [str(folder) for folder in folders] if len(set(names)) < len(names) else names
    return [(name, _table(one)) for name, (_, one) in zip(called, found, strict=True)]


def names_of(folders: Sequence[Path]) -> tuple[tuple[str, str], ...]:
    """The names of rows in all the studies, and what they stand for.

    Raises:
        UsageError: for a name that stands for one variant in one study and for another in the next.
    """
    found: dict[str, tuple[str, Path]] = {}
    for folder in folders:
        for name, text in parse_study(Path(folder) / "study.toml").names:
            there, where = found.setdefault(name, (text, folder))
            if there != text:
                raise UsageError(f"{name!r} is {there!r} in {where} and {text!r} in {folder}: no one variant")
    return tuple((name, text) for name, (text, _) in found.items())


def _one_condition(folder: Path) -> Finished:
    found = finished(folder)
    conditions = parse_study(folder / "study.toml").conditions
    if len(conditions) > 1:
        raise UsageError(
            f"{folder} is a study at {len(conditions)} conditions, which share their test videos and are no "
            "data sets: give studies at one condition each"
        )
    return found[0]


def _own_videos(found: Sequence[tuple[Path, Finished]]) -> None:
    """Two studies of the same videos are one data set."""
    first_of: dict[str, Path] = {}
    for folder, one in found:
        same = {os.path.realpath(one.study.data), one.runs[0].data_digest}
        for key in same:
            if key in first_of:
                raise UsageError(
                    f"{first_of[key]} and {folder} are studies of the same videos ({one.study.data}); "
                    "each data set once"
                )
        first_of |= dict.fromkeys(same, folder)


def _table(one: Finished) -> StudyTable:
    return study_table(one.runs, one.predictions, one.study, failed=one.failed, open=one.open)
