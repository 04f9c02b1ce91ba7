"""A study as a TOML file: read with line numbers in every complaint, written as resolved."""

import dataclasses
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from timelift.comparison.axes import AtKey, Axes, Grid, filled, placeholders, points_of, read_axes, spread
from timelift.comparison.early_stop import EarlyStop
from timelift.comparison.fused_row import FusedRow, read_fused
from timelift.comparison.published import Published, read_published
from timelift.comparison.study import Study, check_axes, check_kind, kind_checked
from timelift.records.errors import DataError, UsageError
from timelift.records.recipe import parse_recipe, recipe_to_dict
from timelift.records.whole import write_text_whole


def parse_study(path: Path) -> Study:
    """The study that a TOML file describes; `data` becomes absolute, from a path relative to the file.

    Raises:
        DataError: if the file cannot be read.
        UsageError: for what is no TOML, an unknown or missing key, or an impossible value, with its line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a study file ({error})") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
    try:
        return _study(values, path)
    except UsageError as error:
        message = str(error)
        place = re.match(rf"(?:recipe: )?({_KEY}(?:\.{_KEY})*):", message)
        keys = _parts(place[1]) if place else []
        if isinstance(error, AtKey):
            keys = list(error.keys)
        line = line_of(text, ["recipe", *keys] if message.startswith("recipe: ") else keys)
        raise UsageError(f"{path}, line {line}: {message}" if line else f"{path}: {message}") from error


def _study(values: dict, path: Path) -> Study:
    given = {key: check_kind(key, value) for key, value in values.items() if key not in _TABLES}
    for key, what in (("data", "the path of the videos"), ("variants", "a list of texts")):
        if key not in given:
            raise UsageError(f"{key}: missing; give {what}")
    recipe = values.get("recipe", {})
    if not isinstance(recipe, dict):
        raise UsageError(f"recipe: {recipe!r} came; tables such as [recipe.training] are wanted")
    given.setdefault("name", path.stem)
    given["data"] = os.path.abspath(path.parent / Path(str(given["data"])).expanduser())
    axes = read_axes(values.get("axes", {}), "axes")
    given["names"] = _names(values.get("names", {}), given["variants"], axes)  # type: ignore[arg-type]
    given["variants"] = spread(given["variants"], axes)  # type: ignore[arg-type]
    given["axes"] = tuple((name, of) for name, of in axes if not _is_of_variants(name, values["variants"]))
    given["early_stop"] = _early_stop(values["early_stop"]) if "early_stop" in values else None
    given["fused"] = read_fused(values.get("fused", {}), given["variants"])  # type: ignore[arg-type]
    study = Study(**given, grid=_grid(values.get("grid", {})), recipe=parse_recipe(recipe))  # type: ignore[arg-type]
    check_axes(study)
    if "published" in values:
        there = [str(condition) for condition in study.conditions]
        rows = (*study.cells, *(row.name for row in study.fused))
        published = read_published(values["published"], rows, there)
        study = dataclasses.replace(study, published=published)
    return study


_TABLES = ("recipe", "axes", "grid", "early_stop", "names", "fused", "published")


def _names(table: object, variants: tuple[str, ...], axes: Axes) -> tuple[tuple[str, str], ...]:
    """The table [names]: name -> variant; placeholders are filled in on both sides."""
    if not isinstance(table, dict):
        raise AtKey(f"{table!r} came; a table is wanted, such as NWI = 'timm:resnet18 Inflate()'", "names")
    for name, text in table.items():
        if not isinstance(text, str):
            raise AtKey(f"{text!r} came; a variant as text is wanted", "names", name)
        if name not in variants:
            raise AtKey(f"is not one of the variants, which are {'; '.join(variants)}", "names", name)
        if missing := set(placeholders(text)) - set(placeholders(name)):
            raise AtKey(f"the name lacks {{{min(missing)}}}, which its variant has", "names", name)
    return tuple(
        (filled(name, point), filled(text, point))
        for name, text in table.items()
        for point in points_of(name, axes)
    )


def _is_of_variants(name: str, variants: list[str]) -> bool:
    return any(f"{{{name}}}" in variant for variant in variants)


def _early_stop(table: object) -> EarlyStop:
    if not isinstance(table, dict):
        raise UsageError(f"early_stop: {table!r} came; a table is wanted: [early_stop] with every and level")
    kinds = {f.name: f.type for f in dataclasses.fields(EarlyStop)}
    for key in table:
        if key not in kinds:
            raise UsageError(f"early_stop.{key}: unknown; known are {', '.join(kinds)}")
    told = {key: kind_checked(f"early_stop.{key}", value, kinds[key]) for key, value in table.items()}
    return EarlyStop(**told)  # type: ignore[arg-type]


def _grid(table: object) -> Grid:
    if not isinstance(table, dict):
        raise UsageError(f"grid: {table!r} came; a table is wanted")
    runs = table.get("runs", 3)
    if type(runs) is not int:
        raise UsageError(f"grid.runs: {runs!r} came; a whole number is wanted")
    own = {name: axes for name, axes in table.items() if isinstance(axes, dict)}
    shared = {name: values for name, values in table.items() if name != "runs" and name not in own}
    of = []
    for variant, axes in own.items():
        special = {where: at for where, at in axes.items() if isinstance(at, dict)}
        general = {name: values for name, values in axes.items() if name not in special}
        for where, at in ({"": general} | special).items():
            of.append((variant, where, read_axes(at, "grid", variant, *([where] if where else []))))
    return Grid(runs, read_axes(shared, "grid"), tuple(of))


_KEY = r"""(?:[\w\-]+|"[^"]*"|'[^']*')"""


def line_of(text: str, keys: list[str]) -> int | None:
    """The line, from 1, of the longest leading part of `keys` that a TOML text sets; None if none.

    ["recipe", "training", "epochs"] is found as `epochs =` under `[recipe.training]`, as `training.epochs =`
    under `[recipe]`, or, within an inline table, at `training =`.
    """
    found = {len(path): number for number, path in _key_lines(text) if keys[: len(path)] == path}
    return found[max(found)] if found else None


def _key_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, full path) of every table header and key."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(rf"\s*\[+\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]", line):
            table = _parts(header[1])
            yield number, table
        elif key := re.match(r"""\s*((?:[\w\-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""", line):
            yield number, table + _parts(key[1])


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_KEY, dotted)]


def study_to_toml(study: Study, folder: Path | None = None) -> str:
    """The study as TOML that `parse_study` reads back to an equal one; for a file in `folder`, if given.

    With a folder, `data` is written relative to it, so that both can move together.
    """
    values = {f.name: getattr(study, f.name) for f in dataclasses.fields(Study) if f.name not in _TABLES}
    if folder is not None:
        values["data"] = Path(os.path.relpath(os.path.abspath(study.data), folder)).as_posix()
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    if study.early_stop is not None:
        lines += ["", "[early_stop]"]
        lines += [f"{key} = {_toml(value)}" for key, value in dataclasses.asdict(study.early_stop).items()]
    lines += _axes_lines("axes", study.axes)
    if study.grid.axes or study.grid.of:
        lines += ["", "[grid]", f"runs = {study.grid.runs}", *_axes_lines("", study.grid.axes)]
        for variant, where, axes in study.grid.of:
            lines += _axes_lines(f"grid.{_toml(variant)}" + (f".{_toml(where)}" if where else ""), axes)
    if study.names:
        lines += ["", "[names]", *(f"{_toml(name)} = {_toml(text)}" for name, text in study.names)]
    for row in study.fused:
        lines += _fused_lines(row)
    lines += _published_lines(study.published)
    for table, fields in recipe_to_dict(study.recipe).items():
        lines += ["", f"[recipe.{table}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in fields.items() if value is not None]
    return "\n".join(lines) + "\n"


def _axes_lines(table: str, axes: Axes) -> list[str]:
    if not axes:
        return []
    return [*(["", f"[{table}]"] if table else []), *(f"{_toml(name)} = {_toml(of)}" for name, of in axes)]


def _fused_lines(row: FusedRow) -> list[str]:
    weights = [f"weights = {_toml(row.weights)}"] if row.weights else []
    return [
        "",
        f"[fused.{_toml(row.name)}]",
        f"of = {_toml(row.of)}",
        f"method = {_toml(row.method)}",
        *weights,
    ]


def _published_lines(published: Published | None) -> list[str]:
    if published is None:
        return []
    lines = ["", "[published]", f"source = {_toml(published.source)}"]
    for name in dict.fromkeys(variant for variant, _, _ in published.cells):
        lines += ["", f"[published.{_toml(name)}]"]
        for variant, condition, figure in published.cells:
            if variant == name:
                error = () if figure.standard_error is None else (figure.standard_error,)
                lines.append(f"{_toml(condition)} = {_toml((figure.mean, *error))}")
    return lines


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple) and any(isinstance(one, str) for one in value):
        return "[\n" + "".join(f"    {_toml(one)},\n" for one in value) + "]"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return repr(value)


def write_study(study: Study, folder: Path) -> None:
    """Save the study as resolved in its output folder (study.toml), whole or not at all."""
    write_text_whole(Path(folder) / "study.toml", study_to_toml(study, Path(folder).absolute()))
