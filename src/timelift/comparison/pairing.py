"""Whether runs may be compared: run i of every variant on the same videos, cut the same way."""

from collections.abc import Collection, Sequence

import numpy as np

from timelift.comparison.continuing import flat
from timelift.comparison.study import LINEAR_PROBE, Study
from timelift.records.errors import UsageError
from timelift.records.predictions import Predictions
from timelift.records.recipe import recipe_to_dict
from timelift.records.run import Run

OWN = ("clip.mean", "clip.std")  # every image network has its own


def check_pairing(
    runs: Sequence[Run], predictions: Sequence[Predictions] | None = None, free: Collection[str] = ()
) -> None:
    """Refuse runs that are not paired: one data set and protocol for all, one training set for all of a seed.

    Mean and std of the pixels are the image network's own and may differ.

    predictions: of the same runs in the same order; they must be of the same videos in the same order.
    free: fields of the recipe that the study chooses for each variant, as "training.learning_rate".

    Raises:
        UsageError: naming two runs and what differs between them.
    """
    first_of_seed: dict[int, Run] = {}
    for run in (paired := _every_seed(runs)):
        _same_protocol(paired[0], run)
        _same_recipe(next((r for r in paired if r.variant != LINEAR_PROBE), run), run, {*OWN, *free})
        _same_training(first_of_seed.setdefault(run.seed, run), run)
    if predictions is not None:
        if len(predictions) != len(runs):
            raise UsageError(f"{len(runs)} runs but predictions of {len(predictions)}; give one for each run")
        for run, answers in zip(runs, predictions, strict=True):
            _same_videos((runs[0], predictions[0]), (run, answers))


def free_fields(study: Study) -> set[str]:
    """Fields of the recipe that may differ between variants: the grid's, and steps where seconds count."""
    axes = (study.grid.axes, *(of for _, _, of in study.grid.of))
    chosen = {name for of in axes for name, _ in of if "." in name}
    return chosen if study.seconds is None else chosen | {"training.steps"}


def _every_seed(runs: Sequence[Run]) -> Sequence[Run]:
    """All runs but a linear probe that ran once: it stands beside every seed, whatever that trained on."""
    probes = [run for run in runs if run.variant == LINEAR_PROBE]
    return runs if len(probes) != 1 else [run for run in runs if run.variant != LINEAR_PROBE]


def _same_protocol(first: Run, run: Run) -> None:
    _refuse(first, run, "data (train, validation and test videos)", first.data_digest, run.data_digest)
    _refuse(first, run, "classes", first.classes, run.classes)
    if LINEAR_PROBE not in (first.variant, run.variant):  # a probe has no epochs to select from
        _refuse(first, run, "selection rule", selection_rule(first), selection_rule(run))


def _same_recipe(first: Run, run: Run, free: Collection[str]) -> None:
    """The recipe field by field; of a probe, which is not trained, clips and views."""
    one, other = (flat(recipe_to_dict(each.recipe)) for each in (first, run))
    for field in one:
        compared = run.variant != LINEAR_PROBE or field.startswith(("clip.", "views."))
        if compared and field not in free:
            _refuse(first, run, f"recipe.{field}", one[field], other[field])


def _same_training(first: Run, run: Run) -> None:
    _refuse(first, run, "training videos", first.train_digest, run.train_digest)
    if first.order_digest and run.order_digest:  # older runs have none, and a probe has no order
        _refuse(first, run, "order of the training videos", first.order_digest, run.order_digest)


def selection_rule(run: Run) -> str:
    """The rule in a run's selection text: "best validation epoch 7 of 20" -> "best validation epoch"."""
    words = run.selection.split(":")[0].split()
    return " ".join(word for word in words if not word.isdigit()).removesuffix(" of")


def _same_videos(first: tuple[Run, Predictions], other: tuple[Run, Predictions]) -> None:
    (run_a, a), (run_b, b) = first, other
    if a.videos != b.videos:
        _refuse(run_a, run_b, "number of test videos", len(a.videos), len(b.videos))
        i = next(i for i, (x, y) in enumerate(zip(a.videos, b.videos, strict=True)) if x != y)
        _refuse(run_a, run_b, f"test video {i + 1}", a.videos[i], b.videos[i])
    _refuse(run_a, run_b, "classes of the predictions", a.classes, b.classes)
    _refuse(run_a, run_b, "groups of the test videos", a.groups, b.groups)
    if not np.array_equal(a.labels, b.labels):
        i = int(np.flatnonzero(a.labels != b.labels)[0])
        _refuse(run_a, run_b, f"label of {a.videos[i]}", int(a.labels[i]), int(b.labels[i]))


def _refuse(first: Run, run: Run, what: str, came: object, other: object) -> None:
    if came != other:
        raise UsageError(
            f"not paired: {what} differ between {first.variant}, seed {first.seed} ({came}) and "
            f"{run.variant}, seed {run.seed} ({other}). Run both in one study on the same data"
        )
