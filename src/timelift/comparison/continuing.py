"""A study grows: further variants, seeds and conditions; what else differs makes it another study."""

import dataclasses
import os

from timelift.comparison.study import Study
from timelift.records.errors import UsageError
from timelift.records.recipe import recipe_to_dict


def continue_study(stored: Study, wanted: Study) -> Study:
    """The stored study with the wanted one's further variants, seeds and conditions; nothing there goes.

    Raises:
        UsageError: if anything else differs, naming it.
    """
    differences = _differences(stored, wanted)
    if differences:
        raise UsageError(
            f"the study in this folder has {'; '.join(differences)}. Only variants, seeds and "
            "conditions (videos_per_class, axes) can be added: "
            "give another --output for another study"
        )
    variants = (*stored.variants, *(v for v in wanted.variants if v not in stored.variants))
    seeds = max(stored.seeds, wanted.seeds)
    together = dataclasses.replace(
        stored,
        name=wanted.name,
        variants=variants,
        seeds=seeds,
        max_seeds=max(stored.max_seeds or 0, seeds),
        linear_probe=stored.linear_probe or wanted.linear_probe,
        videos_per_class=_together(stored.videos_per_class, wanted.videos_per_class),
        axes=tuple((name, _union(values, dict(wanted.axes)[name])) for name, values in stored.axes),
        early_stop=wanted.early_stop,
        names=_union(stored.names, wanted.names),
        fused=wanted.fused,
        grid=dataclasses.replace(stored.grid, of=_union(stored.grid.of, wanted.grid.of)),
        published=wanted.published,
    )
    if stored.holds_validation != together.holds_validation:
        told = "holds back" if stored.holds_validation else "does not hold back"
        raise UsageError(
            f"the study in this folder {told} validation videos for choices, and this file says otherwise "
            "(fused rows by svm, early_stop): its runs would train on other videos. Give another --output"
        )
    return together


def _union(there: tuple, further: tuple) -> tuple:
    return (*there, *(value for value in further if value not in there))


def _together(there: int | tuple[int, ...] | None, further: int | tuple[int, ...] | None):
    if there == further or there is None or further is None:
        return there
    one, other = (value if isinstance(value, tuple) else (value,) for value in (there, further))
    return _union(one, other)


def _differences(stored: Study, wanted: Study) -> list[str]:
    free = {"name", "variants", "seeds", "max_seeds", "linear_probe", "data", "recipe", "baseline"}
    free |= {"videos_per_class", "axes", "grid", "published", "early_stop", "fused", "names"}
    found = [
        f"names.{name} = {dict(stored.names)[name]!r}, not {text!r}"
        for name, text in wanted.names
        if dict(stored.names).get(name, text) != text
    ]
    if os.path.realpath(stored.data) != os.path.realpath(wanted.data):
        found.append(f"data = {stored.data!r}, not {wanted.data!r}")
    for key in (f.name for f in dataclasses.fields(Study) if f.name not in free):
        old, new = getattr(stored, key), getattr(wanted, key)
        if old != new:
            found.append(f"{key} = {old!r}, not {new!r}")
    if (stored.videos_per_class is None) != (wanted.videos_per_class is None):
        found.append(f"videos_per_class = {stored.videos_per_class}, not {wanted.videos_per_class}")
    if dict(stored.axes).keys() != dict(wanted.axes).keys():
        found.append(f"axes of {list(dict(stored.axes))}, not {list(dict(wanted.axes))}")
    if (stored.grid.runs, stored.grid.axes) != (wanted.grid.runs, wanted.grid.axes):
        found.append("another grid of choices")
    if wanted.early_stop not in (stored.early_stop, None):  # it can be switched off, and no more
        found.append(f"early_stop = {stored.early_stop}, not {wanted.early_stop}")
    if wanted.baseline not in (stored.baseline, wanted.variants[0]):
        found.append(f"baseline = {stored.baseline!r}, not {wanted.baseline!r}")
    old_recipe, new_recipe = flat(recipe_to_dict(stored.recipe)), flat(recipe_to_dict(wanted.recipe))
    for key in old_recipe:
        if old_recipe[key] != new_recipe.get(key):
            found.append(f"recipe.{key} = {old_recipe[key]!r}, not {new_recipe.get(key)!r}")
    return found


def flat(nested: dict, prefix: str = "") -> dict[str, object]:
    """{"training": {"epochs": 3}} -> {"training.epochs": 3}."""
    found: dict[str, object] = {}
    for key, value in nested.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
