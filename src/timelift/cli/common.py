"""Options that several verbs share, and how they talk."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from timelift.records import Recipe
from timelift.records.errors import DataError, UsageError
from timelift.records.recipe import parse_recipe, recipe_to_dict

console = Console(stderr=True, highlight=False)

Data = Annotated[
    Path, typer.Argument(help="A folder, a CSV (path,label[,split,group]), a list, or a manifest.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Seed = Annotated[int, typer.Option(help="What all randomness follows from.")]
Limit = Annotated[int | None, typer.Option(help="Only so many videos of every class and split.", min=1)]
OfficialList = Annotated[
    int, typer.Option(help="Which of UCF101's or HMDB51's lists: 1, 2 or 3.", min=1, max=3)
]
AllowLeaks = Annotated[
    bool,
    typer.Option("--allow-leaks", help="Groups or copies on two sides are no error; every report says so."),
]
Separator = Annotated[
    str,
    typer.Option(
        "--label-separator", help="What stands between the classes of a video that shows several, as '|'."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A field of the recipe, as training.epochs=30 or clip.frames=16; repeatable."),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A TOML file with [clip], [training] ... tables.")
]


def say(line: str) -> None:
    """One line for the person, on standard error; standard output is for results."""
    console.print(line, markup=False, soft_wrap=True)


def chosen_recipe(file: Path | None, settings: list[str] | None) -> Recipe:
    """The default recipe, changed by a TOML file and by single fields.

    Raises:
        DataError: if the file is missing or no TOML.
        UsageError: for unknown fields and values that do not fit.
    """
    import tomllib

    told: dict = recipe_to_dict(Recipe())
    if file is not None:
        try:
            _merge(told, tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{file}: {error}") from error
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        table, dot, field = name.strip().partition(".")
        if not equals or not dot:
            raise UsageError(f"--set {setting}: wanted TABLE.FIELD=VALUE, as training.epochs=30")
        _merge(told, {table: {field: _value(value)}})
    return parse_recipe(told)


def _merge(told: dict, changes: dict) -> None:
    for table, fields in changes.items():
        if isinstance(fields, dict) and isinstance(told.get(table), dict):
            told[table] |= fields
        else:
            told[table] = fields


def _value(text: str) -> object:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


@contextmanager
def counting(title: str, total: int | None, unit: str = "videos") -> Iterator[Callable[..., None]]:
    """A bar that is told how many are done, and of how many where that was not known before."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not sys.stderr.isatty() and total is None) as bar:
        task = bar.add_task(title, total=total)

        def show(done: int, of: int | None = None) -> None:
            bar.update(task, completed=done, total=of or total)

        yield show


def limited(manifest, limit: int | None):
    """The first so many videos of every class and split."""
    if limit is None:
        return manifest
    counts: dict[tuple[str, str], int] = {}
    kept = []
    for video in manifest.videos:
        key = (video.label, video.split)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= limit:
            kept.append(video)
    return manifest.with_videos(kept)


def needs_new(folder: Path, finished: str) -> None:
    """Refuse a folder that holds another finished result."""
    if (folder / finished).exists():
        raise UsageError(f"{folder} holds a finished run already ({finished}): give another --output")
