"""Runs of a study that cost the same time: one network, clip and batch at one condition."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from timelift.comparison.axes import Condition, Point, filled, text_of, with_fields
from timelift.comparison.study import Study
from timelift.records import Recipe


@dataclass(frozen=True)
class Kind:
    """Runs that cost the same: one network on one kind of clip and batch, at one condition."""

    condition: str
    variant: str  # every choice filled in
    recipe: Recipe  # with everything that costs no time at one value

    def __str__(self) -> str:
        return f"{self.condition} | {self.variant} | {text_of(_costly(self.recipe))}"


def kind_of(study: Study, condition: Condition, variant: str, choice: Point) -> Kind:
    """The kind of run that a variant's choice makes at a condition."""
    recipe = with_fields(study.at(condition).recipe, choice)
    training = dataclasses.replace(
        recipe.training, learning_rate=1e-12, schedule="constant", early_stopping_patience=0, ema=0.0
    )
    text = filled(study.text_of(variant), choice)
    return Kind(str(condition), text, dataclasses.replace(recipe, training=training))


def kinds_of(study: Study) -> Iterator[tuple[Condition, Kind]]:
    """Of every condition, variant and choice."""
    for condition in study.conditions:
        for variant in study.variants:
            for choice in study.grid.choices(variant, condition):
                yield condition, kind_of(study, condition, variant, choice)


def _costly(recipe: Recipe) -> Point:
    training = recipe.training
    return (
        ("frames", recipe.clip.frames),
        ("size", recipe.clip.size),
        ("batch", training.batch_size * training.accumulate),
    )
