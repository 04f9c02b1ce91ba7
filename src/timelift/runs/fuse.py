"""Finished runs fused from their stored answers into a folder that is like a run's."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from timelift.comparison.fuse import (
    METHODS,
    check_same_questions,
    difference,
    mean_of_probabilities,
    sum_of_logits,
    weighted_probabilities,
    with_logits,
)
from timelift.evaluation.metrics import summary
from timelift.evaluation.probe import chosen_strength
from timelift.evaluation.svm import STRENGTHS, LinearSVM, fit_svm, on_unit_sphere, svm_logits
from timelift.records import DataError, Predictions, Recipe, Run, UsageError
from timelift.records.predictions import PREDICTIONS, VALIDATION_PREDICTIONS, read_predictions
from timelift.records.run import read_run
from timelift.records.whole import write_text_whole
from timelift.runs.surroundings import versions
from timelift.runs.train_one import VALIDATION, store_run

Method = Literal["mean", "sum", "weighted", "svm"]
FUSION = "fusion.json"


@dataclass(frozen=True, eq=False)
class Member:
    """What is fused: a run's folder, or a file of predictions."""

    path: Path
    run: Run | None  # None: of a file nothing else is known
    test: Predictions
    validation: Predictions | None

    @property
    def name(self) -> str:
        """As the user gave it."""
        return str(self.path)


@dataclass(frozen=True, eq=False)
class Fuser:
    """How several answers to one video become one; everything that is fitted is in it."""

    method: Method
    weights: tuple[float, ...] = ()
    svm: LinearSVM | None = None
    strength: float | None = None  # C of the support vector machine

    def __call__(self, members: Sequence[Predictions]) -> Predictions:
        """One answer a video, of the same videos."""
        if self.method == "svm":
            assert self.svm is not None
            return with_logits(members[0], self.svm.decide(stacked_scores(members)))
        if self.method == "weighted":
            return weighted_probabilities(members, self.weights)
        return (sum_of_logits if self.method == "sum" else mean_of_probabilities)(members)

    def __str__(self) -> str:
        words = {
            "mean": "mean of probabilities",
            "sum": "sum of logits",
            "weighted": "weighted probabilities",
        }
        if self.method == "svm":
            return f"linear SVM on scores, C = {self.strength:g}"
        told = f" ({', '.join(f'{w:g}' for w in self.weights)})" if self.weights else ""
        return words[self.method] + told


def read_member(path: Path) -> Member:
    """A run's folder with its predictions, or an npz file that `timelift evaluate` wrote.

    Raises:
        DataError: if there is neither.
    """
    if path.is_file():
        try:
            return Member(path, None, read_predictions(path), None)
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} holds no predictions (npz of `timelift evaluate`): {error}") from error
    if not (path / "run.json").is_file() or not (path / PREDICTIONS).is_file():
        raise DataError(f"{path} holds no finished run (run.json and {PREDICTIONS}): give folders of runs")
    validation = path / VALIDATION_PREDICTIONS
    answers = read_predictions(validation) if validation.is_file() else None
    return Member(path, read_run(path), read_predictions(path / PREDICTIONS), answers)


def fuser_of(method: str, weights: Sequence[float], members: Sequence[Member]) -> Fuser:
    """The fuser that was asked for; a support vector machine is fitted on validation answers alone.

    Raises:
        UsageError: for an unknown method, weights that do not fit it, or no validation answers to fit on.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r}: mean, sum, weighted or svm")
    if weights and method != "weighted":
        raise UsageError(f"weights go with the method weighted, not with {method}")
    if method == "weighted" and len(weights) != len(members):
        raise UsageError(f"{len(weights)} weight(s) for {len(members)} runs: give one for each")
    if method != "svm":
        return Fuser(method, tuple(weights))  # type: ignore[arg-type]
    machine, strength = _fitted([member.name for member in members], [_validation(m) for m in members])
    return Fuser("svm", (), machine, strength)


def fuse(members: Sequence[Member], method: str, weights: Sequence[float] = ()) -> tuple[Fuser, Predictions]:
    """The fuser and its answers for the test videos.

    Raises:
        UsageError: for members of different videos, classes or orders, naming the difference.
    """
    check_same_questions([member.name for member in members], [member.test for member in members])
    fuser = fuser_of(method, weights, members)
    return fuser, fuser([member.test for member in members])


def stacked_scores(members: Sequence[Predictions]) -> np.ndarray:
    """(videos, members x classes): the probabilities of each member, every part at length 1."""
    return np.concatenate([on_unit_sphere(member.scores()) for member in members], axis=1)


def write_fused(fuser: Fuser, members: Sequence[Member], fused: Predictions, folder: Path) -> Run:
    """A folder like a run's: run.json, predictions, and fusion.json, by which `evaluate` asks the members.

    Validation answers are stored where all members have them, unless a support vector machine saw them.
    """
    validation = _fused_validation(fuser, members)
    run = fused_record(fuser, members, fused, validation)
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, object] = {
        "method": fuser.method,
        "weights": list(fuser.weights),
        "members": [os.path.relpath(member.path.resolve(), folder.resolve()) for member in members],
    }
    if fuser.svm is not None:
        told["svm"] = {
            "strength": fuser.strength,
            "coefficients": fuser.svm.coefficients.tolist(),
            "intercepts": fuser.svm.intercepts.tolist(),
        }
    write_text_whole(folder / FUSION, json.dumps(told, indent=2) + "\n")
    store_run(run, fused, folder, validation)
    return run


def read_fuser(folder: Path) -> tuple[Fuser, list[Path]]:
    """The fuser of a folder that `write_fused` wrote, and the folders of its members.

    Raises:
        DataError: if a member is gone.
    """
    told = json.loads((folder / FUSION).read_text(encoding="utf-8"))
    members = [(folder / member).resolve() for member in told["members"]]
    for member in members:
        if not member.exists():
            raise DataError(f"{folder} fuses {member}, which is gone: fuse again")
    svm = told.get("svm")
    machine = None
    if svm is not None:
        machine = LinearSVM(np.array(svm["coefficients"]), np.array(svm["intercepts"]))
    strength = svm["strength"] if svm is not None else None
    return Fuser(told["method"], tuple(told["weights"]), machine, strength), members


def _validation(member: Member) -> Predictions:
    if member.validation is None:
        where = f"{member.path / VALIDATION_PREDICTIONS}" if member.run is not None else "a run's folder"
        raise UsageError(
            f"{member.name} has no predictions of validation videos to fit on, and test videos fit nothing. "
            f"Runs of older releases and of --no-validation have none: train again, or, if the data has "
            f"a val split, `timelift evaluate RUN DATA --split val --output {where}`"
        )
    return member.validation


def _fitted(names: Sequence[str], validation: Sequence[Predictions]) -> tuple[LinearSVM, float]:
    check_same_questions(names, validation)
    answers = validation[0]
    scores, labels, classes = stacked_scores(validation), answers.labels, len(answers.classes)
    missing = [answers.classes[i] for i in sorted(set(range(classes)) - set(labels.tolist()))]
    if missing:
        raise UsageError(
            f"no validation video shows {missing[0]!r}: a support vector machine cannot learn that class"
        )
    groups = tuple(group or video for group, video in zip(answers.groups, answers.videos, strict=True))
    strength = chosen_strength(scores, labels, groups, 0, fit=svm_logits, strengths=STRENGTHS)
    return fit_svm(scores, labels, strength, classes), strength


def _fused_validation(fuser: Fuser, members: Sequence[Member]) -> Predictions | None:
    answers = [member.validation for member in members if member.validation is not None]
    if fuser.method == "svm" or len(answers) < len(members):
        return None
    if any(difference(answers[0], other) for other in answers[1:]):  # nothing is fitted: none are stored
        return None
    return fuser(answers)


def fused_record(
    fuser: Fuser, members: Sequence[Member], fused: Predictions, validation: Predictions | None
) -> Run:
    """The run's record: of the first member where it tells of one protocol; sums where costs add up."""
    runs = [member.run for member in members if member.run is not None]
    like = runs[0] if runs else None
    seeds = {run.seed for run in runs}
    counted = [run.multiply_adds for run in runs if run.multiply_adds is not None]
    complete = len(runs) == len(members)
    metrics = {name: value for name, value in summary(fused).items() if not name.endswith("/clip")}
    if validation is not None:
        metrics[VALIDATION] = float(validation.correct().mean())
    names = [member.name if member.run is None else member.run.variant for member in members]
    own = (
        fuser.method if not fuser.weights else f"{fuser.method} {', '.join(f'{w:g}' for w in fuser.weights)}"
    )
    return Run(
        variant=f"fused ({own}): {' & '.join(names)}",
        seed=seeds.pop() if len(seeds) == 1 else 0,
        recipe=like.recipe if like else Recipe(),
        classes=fused.classes,
        data_digest=like.data_digest if like else "",
        train_digest=like.train_digest if like else "",
        started_from="; ".join(dict.fromkeys(run.started_from for run in runs)),
        selection=like.selection if like else "",
        parameters=sum(run.parameters for run in runs),
        metrics=metrics,
        versions=versions(),
        multiply_adds=sum(counted) if complete and len(counted) == len(runs) else None,
        notes=(f"{fuser} of {', '.join(member.name for member in members)}",),
    )
