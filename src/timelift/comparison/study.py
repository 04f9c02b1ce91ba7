"""What a study compares, on what, and by which rules: stated before the first run."""

import dataclasses
import types
from dataclasses import dataclass, field
from typing import Literal, get_args, get_origin

from timelift.comparison.axes import AtKey, Axes, Condition, Grid, filled, placeholders, points, with_fields
from timelift.comparison.early_stop import EarlyStop
from timelift.comparison.fused_row import FusedRow
from timelift.comparison.looks import Spending
from timelift.comparison.published import Published
from timelift.records.errors import UsageError
from timelift.records.recipe import Recipe

LINEAR_PROBE = "linear probe"
BadVideos = Literal["error", "exclude", "keep-readable"]
Selection = Literal["validation", "last"]


@dataclass(frozen=True)
class Study:
    """Variants x seeds, at one condition or at several, on one data set.

    All but `variants`, `seeds` and the conditions holds from the first run on.
    """

    name: str
    data: str  # path of the data set; absolute, or relative to where it is run
    variants: tuple[str, ...]  # as text, or the names that stand for it
    seeds: int = 5
    max_seeds: int | None = None  # stated beforehand; None: as many as `seeds`
    baseline: str | None = None  # None: the first variant
    alpha: float = 0.05
    margin: float = 0.02  # differences within it do not matter (a fraction: 2 points)
    share: float = 0.9  # also judged: steps and seconds to this share of the best final validation accuracy
    spending: Spending = "pocock"  # how looks beyond the first spend alpha
    videos_per_class: int | tuple[int, ...] | None = None  # class-balanced subsets, the small in the large
    axes: Axes = ()  # fields of the recipe at several values: ("clip.frames", (8, 16))
    grid: Grid = field(default_factory=Grid)  # what is chosen for each variant, on validation videos
    vary_training_videos: bool | None = None  # another subset each run; None: if there is a subset
    test_videos: int | None = None  # judge on so many test videos, class-balanced; None: on all
    validation_videos: int | None = None  # the same for epochs and choices; None: all, if they choose any
    time_runs: int | None = None  # so many runs a row are also judged on disordered clips; None: all
    official_list: int | None = None  # which of the data set's own train and test lists, from 1
    bad_videos: BadVideos = "error"
    allow_leaks: bool = False  # a group, or the same bytes, on two sides of the split; said in the report
    selection: Selection = "validation"  # which epoch: the best on validation videos, or the last
    linear_probe: bool = True
    early_stop: EarlyStop | None = None  # of hopeless variants, by validation videos; None: every run is made
    seconds: float | None = None  # of training, in place of epochs: as many steps as a variant takes in them
    recipe: Recipe = field(default_factory=Recipe)
    names: tuple[tuple[str, str], ...] = ()  # (name, variant): what the row of a variant is called
    fused: tuple[FusedRow, ...] = ()  # further rows, judged as variants are
    published: Published | None = None  # to stand beside in the report; may change at any time

    def __post_init__(self):
        """Fill in what follows from other fields, and refuse what cannot be.

        Raises:
            UsageError: "KEY: what came, what was wanted".
        """
        _fill(self, "max_seeds", self.seeds if self.max_seeds is None else self.max_seeds)
        if self.variants:
            _fill(self, "baseline", self.variants[0] if self.baseline is None else self.baseline)
        vary = self.videos_per_class is not None
        _fill(
            self,
            "vary_training_videos",
            vary if self.vary_training_videos is None else self.vary_training_videos,
        )
        for key, wrong in _refusals(self):
            raise UsageError(f"{key}: {wrong}")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every number of training videos with every point of the axes."""
        sizes = (
            self.videos_per_class if isinstance(self.videos_per_class, tuple) else (self.videos_per_class,)
        )
        return tuple(Condition(size, point) for size in sizes for point in points(self.axes))

    def at(self, condition: Condition) -> "Study":
        """The study at one condition alone, nothing left to vary but variants and seeds."""
        recipe = with_fields(self.recipe, condition.fields)
        return dataclasses.replace(
            self,
            videos_per_class=condition.videos_per_class,
            axes=(),
            recipe=recipe,
            published=self.published and self.published.at(str(condition)),
        )

    def text_of(self, variant: str) -> str:
        """A variant's own text, where it has a name."""
        return dict(self.names).get(variant, variant)

    @property
    def holds_validation(self) -> bool:
        """Whether training videos are held back for choices, where the data has no validation videos."""
        chooses = any(len(self.grid.choices(v, c)) > 1 for v in self.variants for c in self.conditions)
        fits = any(row.method == "svm" for row in self.fused)
        asked = self.validation_videos is not None or self.early_stop is not None
        return self.selection == "validation" or chooses or fits or asked

    @property
    def texts(self) -> tuple[str, ...]:
        """The variants' own texts."""
        return tuple(map(self.text_of, self.variants))

    @property
    def cells(self) -> tuple[str, ...]:
        """The variants that are run, the linear probe among them where it is asked for."""
        return (*self.variants, LINEAR_PROBE) if self.linear_probe else self.variants


def _fill(study: Study, key: str, value: object) -> None:
    object.__setattr__(study, key, value)


def _refusals(study: Study):
    """Yield (key, what came and what was wanted) for every impossible value."""
    repeated = [v for i, v in enumerate(study.variants) if v in study.variants[:i]]
    if not study.name.strip():
        yield "name", "is empty; give the study a name"
    if not study.variants:
        yield "variants", "the list is empty; give at least one variant"
    if repeated:
        yield "variants", f"{repeated[0]!r} is there twice; each variant once"
    if LINEAR_PROBE in study.variants:
        yield "variants", f"{LINEAR_PROBE!r} is no variant; set linear_probe = true"
    if study.variants and study.baseline not in study.variants:
        yield "baseline", f"{study.baseline!r} is not one of the variants"
    if study.seeds < 1:
        yield "seeds", f"{study.seeds} came; at least 1 is wanted, 5 or more for a verdict worth having"
    if study.max_seeds is not None and study.max_seeds < study.seeds:
        yield "max_seeds", f"{study.max_seeds} came, below seeds = {study.seeds}"
    rows = [*study.variants, LINEAR_PROBE]
    for row in study.fused:
        if row.name in rows:
            yield "fused", f"{row.name!r} is the name of another row; give the fusion one of its own"
        rows.append(row.name)
    for name, _ in study.names:
        if name in study.texts:
            yield "names", f"{name!r} is the text of a variant; give another name"
    if not 0 < study.alpha < 0.5:
        yield "alpha", f"{study.alpha} came; a level between 0 and 0.5 is wanted, such as 0.05"
    if not 0 < study.margin < 1:
        yield "margin", f"{study.margin} came; a fraction between 0 and 1 is wanted, such as 0.02 (2 points)"
    if not 0 < study.share <= 1:
        yield "share", f"{study.share} came; a fraction above 0 and up to 1 is wanted, such as 0.9"
    sizes = study.videos_per_class if isinstance(study.videos_per_class, tuple) else (study.videos_per_class,)
    for size in sizes:
        if size is not None and size < 1:
            yield "videos_per_class", f"{size} came; at least 1 is wanted"
    if len(set(sizes)) < len(sizes) or not sizes:
        yield "videos_per_class", f"{list(sizes)} came; each number once, and at least one, is wanted"
    for key in ("test_videos", "validation_videos"):
        if (videos := getattr(study, key)) is not None and videos < 1:
            yield key, f"{videos} came; at least 1 is wanted"
    if study.seconds is not None and not study.seconds > 0:
        yield "seconds", f"{study.seconds} came; seconds of training above 0 are wanted"
    if study.time_runs is not None and study.time_runs < 0:
        yield "time_runs", f"{study.time_runs} came; 0 or more is wanted"
    if study.early_stop is not None and study.early_stop.every >= (study.max_seeds or study.seeds):
        most = f"a study of at most {study.max_seeds} seeds"
        yield "early_stop.every", f"{study.early_stop.every} came: {most} would never have a round"
    if study.vary_training_videos and study.videos_per_class is None:
        yield "vary_training_videos", "true needs videos_per_class: only a subset can vary"
    if study.official_list is not None and study.official_list < 1:
        yield "official_list", f"{study.official_list} came; lists count from 1"


def check_axes(study: Study) -> None:
    """Refuse conditions and choices that cannot be.

    Raises:
        UsageError: "KEY: what came, what was wanted".
    """
    for name, values in study.axes:
        _check_axis(study, name, values, (), "axes", name)
    if study.grid.runs < 1:
        raise AtKey(f"{study.grid.runs} came; at least 1 is wanted", "grid", "runs")
    for name, values in study.grid.axes:
        _check_axis(study, name, values, study.variants, "grid", name)
    there = [str(condition) for condition in study.conditions if str(condition)]
    for variant, where, axes in study.grid.of:
        place = ("grid", variant, where) if where else ("grid", variant)
        if variant not in study.variants:
            raise AtKey(f"{variant!r} is not one of the variants", *place)
        if where and where not in there:
            raise AtKey(f"{where!r} is no condition; there are {'; '.join(there) or 'none'}", *place)
        for name, values in axes:
            _check_axis(study, name, values, (variant,), *place, name)
    for condition in study.conditions:
        recipe = study.at(condition).recipe
        for variant in study.variants:
            for choice in study.grid.choices(variant, condition):
                with_fields(recipe, choice)
                if left := placeholders(filled(study.text_of(variant), choice)):
                    raise UsageError(
                        f"variants: {variant!r} has {{{left[0]}}}, of which neither axes nor grid have values"
                    )


def _check_axis(study: Study, name: str, values: tuple, variants: tuple[str, ...], *keys: str) -> None:
    """Every value has to fit the recipe's field, or the name to be a placeholder of one of the variants."""
    if "." not in name and not any(f"{{{name}}}" in variant for variant in variants):
        raise AtKey(f"no variant has {{{name}}}, and a recipe's field has a dot", *keys)
    for value in values:
        try:
            with_fields(study.recipe, ((name, value),))
        except UsageError as error:
            raise AtKey(str(error), *keys) from error


def check_kind(key: str, value: object) -> object:
    """The value of a study's field as it comes from a file, with lists as tuples.

    Raises:
        UsageError: for an unknown key, or a value that is not of the field's kind.
    """
    kinds = {f.name: f.type for f in dataclasses.fields(Study)}
    if key not in kinds:
        raise UsageError(f"{key}: unknown; known are {', '.join(kinds)}")
    kind = kinds[key]
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if key == "videos_per_class" and isinstance(value, list) and all(type(v) is int for v in value):
        return tuple(value)
    return kind_checked(key, value, kind)


def kind_checked(key: str, value: object, kind: object) -> object:
    """The value if it is of the kind, whole numbers as numbers where those are wanted.

    Raises:
        UsageError: "KEY: what came, what was wanted".
    """
    if kind is float and type(value) is int:
        return float(value)
    if not _is(value, kind):
        raise UsageError(f"{key}: {value!r} came; {_words(kind)} is wanted")
    return value


def _is(value: object, kind: object) -> bool:
    if get_origin(kind) is types.UnionType:
        return any(_is(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return type(value) is kind  # type(), as True is an int


def _words(kind: object) -> str:
    if get_origin(kind) is types.UnionType:
        return " or ".join(_words(part) for part in get_args(kind) if part is not types.NoneType)
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(kind, "a list of texts")  # type: ignore[call-overload]
