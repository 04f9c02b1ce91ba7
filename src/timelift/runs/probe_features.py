"""A linear classifier on stored features: fitted on train, its strength chosen on val, tested once."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from timelift.comparison.fuse import names_below
from timelift.evaluation.metrics import summary, top_k
from timelift.evaluation.probe import STRENGTHS, Fit, chosen_strength, fitted_logits, folds_of
from timelift.evaluation.svm import STRENGTHS as SVM_STRENGTHS
from timelift.evaluation.svm import on_unit_sphere, svm_logits
from timelift.records import DataError, Predictions, Run, UsageError
from timelift.records.features import Features, picked
from timelift.records.recipe import parse_recipe
from timelift.runs.surroundings import versions
from timelift.runs.train_one import VALIDATION, store_run

CLASSIFIERS: dict[str, tuple[Fit, tuple[float, ...]]] = {
    "logistic": (fitted_logits, STRENGTHS),
    "svm": (svm_logits, SVM_STRENGTHS),
}


def probe_features(files: Sequence[Features], classifier: str, folder: Path) -> Run:
    """Fit, choose, test once and store a folder like a run's (without a network), which `fuse` takes.

    Features of several layers stand side by side, each row at length 1 for a support vector machine; logistic
    regression standardises every number.

    Raises:
        UsageError: for an unknown classifier, or features of different videos.
        DataError: without train or test videos.
    """
    if classifier not in CLASSIFIERS:
        raise UsageError(f"classifier {classifier!r}: {' or '.join(CLASSIFIERS)}")
    began = time.perf_counter()
    check_same_videos(files)
    first, (fit, strengths) = files[0], CLASSIFIERS[classifier]
    prepare = on_unit_sphere if classifier == "svm" else np.asarray
    rows = np.concatenate([prepare(file.rows) for file in files], axis=1)
    train, val, test = (first.of_split(split) for split in ("train", "val", "test"))
    if not len(train) or not len(test):
        there = sorted({split or "none" for split in first.splits})
        raise DataError(
            f"the videos are of the split(s) {', '.join(there)}: wanted train and test, and best val"
        )
    classes = len(first.classes)
    learnt = set(first.labels[train].tolist())
    if unknown := sorted(set(first.labels.tolist()) - learnt):
        raise DataError(f"no training video shows {first.classes[unknown[0]]!r}: leave its videos out")
    if len(learnt) < 2:
        raise DataError(f"all training videos show {first.classes[min(learnt)]!r}: two classes are wanted")
    shared = {first.groups[i] for i in train if first.groups[i]} & {first.groups[i] for i in test}
    if shared:
        raise DataError(
            f"group {min(shared)} is in train and in test: the test sees what training saw. Split by group"
        )

    def logits(places: np.ndarray, strength: float) -> np.ndarray:
        return fit(rows[train], first.labels[train], rows[places], strength, classes)

    if len(val):
        right = [top_k(logits(val, strength), first.labels[val], 1) for strength in strengths]
        strength = strengths[int(np.argmax(right))]  # of equals the smallest
        selection = f"C = {strength:g}, best on {len(val)} validation videos"
    else:
        groups = tuple(g or v for g, v in zip(first.groups, first.videos, strict=True))
        strength = chosen_strength(
            rows[train], first.labels[train], picked(groups, train), 0, fit=fit, strengths=strengths
        )
        how = "by cross-validation on the training videos"
        if folds_of(first.labels[train], picked(groups, train)) < 2:
            how = "as there is nothing to choose it by"
        selection = f"C = {strength:g}, {how}"
    answers = _answers(first, test, logits(test, strength))
    validation = _answers(first, val, logits(val, strength)) if len(val) else None
    run = Run(
        variant=f"{classifier} on " + " & ".join(f"{file.layer} of {file.source}" for file in files),
        seed=0,
        recipe=parse_recipe(json.loads(first.recipe)),
        classes=first.classes,
        data_digest=first.data_digest,
        train_digest="",
        started_from="; ".join(file.source for file in files),
        selection=selection,
        parameters=(rows.shape[1] + 1) * classes,
        metrics=summary(answers)
        | ({VALIDATION: float(validation.correct().mean())} if validation is not None else {}),
        versions=versions(),
        seconds={"train": time.perf_counter() - began},
        notes=("deterministic: nothing in it is drawn at random",),
    )
    store_run(run, answers, folder, validation)
    return run


def check_same_videos(files: Sequence[Features]) -> None:
    """Refuse features of other videos, labels or splits.

    Raises:
        UsageError: naming the first two files that differ, and in what.
    """
    if not files:
        raise UsageError("no features: give one file or more of `timelift features`")
    first = files[0]
    for other in files[1:]:
        for what, one, two in (
            ("videos", names_below(first.videos), names_below(other.videos)),
            ("splits", first.splits, other.splits),
            ("classes", first.classes, other.classes),
            ("labels", tuple(first.labels), tuple(other.labels)),
        ):
            if one != two:
                names = f"{first.layer} of {first.source} and {other.layer} of {other.source}"
                raise UsageError(f"{what} differ between {names}: take both of the same data")


def _answers(features: Features, places: np.ndarray, logits: np.ndarray) -> Predictions:
    return Predictions(
        videos=picked(features.videos, places),
        groups=picked(features.groups, places),
        labels=features.labels[places],
        classes=features.classes,
        clip_logits=logits[:, None].astype(np.float32),
    )
