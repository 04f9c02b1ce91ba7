"""How long a study will take, from timed steps: nothing is trained to its end."""

import dataclasses
import math
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from timelift.comparison.axes import text_of
from timelift.comparison.store import Store
from timelift.comparison.study import Study
from timelift.comparison.study_file import write_study
from timelift.data.cache import cache_path, default_folder, open_frames
from timelift.records import Manifest, Recipe
from timelift.runs.data import PreparedData, scanned
from timelift.runs.kinds import kind_of
from timelift.runs.one_cell import SCANNED, own_videos, seen_videos, study_data
from timelift.runs.select_one import FIRST_SEED
from timelift.runs.study import resolved
from timelift.runs.timed import Timed, time_all, timed_videos
from timelift.training.budget import budget_of


@dataclass(frozen=True)
class Expected:
    """The runs of one variant at one condition that are still to be made, for a choice or to be judged."""

    condition: str
    variant: str
    tries: int  # choices that are tried; 0 for runs that are judged
    runs: int
    steps: float  # optimiser steps of a run; this and the seconds are means over the choices
    step_seconds: float
    run_seconds: float

    @property
    def seconds(self) -> float:
        """Of all runs, one after another."""
        return self.runs * self.run_seconds


@dataclass(frozen=True)
class Forecast:
    """All runs to come; the linear probe's, which are short, are not among them."""

    expected: tuple[Expected, ...]
    workers: int
    decoding: float  # seconds, once
    videos: int  # to be decoded

    @property
    def runs(self) -> int:
        """To be made."""
        return sum(one.runs for one in self.expected)

    @property
    def work(self) -> float:
        """Seconds of all runs, one after another."""
        return sum(one.seconds for one in self.expected)

    @property
    def seconds(self) -> float:
        """Until the study is finished, with its workers side by side."""
        return self.decoding + self.work / max(1, min(self.workers, self.runs))


def forecast(
    study: Study, folder: Path, workers: int, device: torch.device, say: Callable[[str], None]
) -> Forecast:
    """Time a few steps of every kind of run, in as many processes as would work at once.

    Of the study's folder only the list of scanned videos is written; cells that are done there do not count.
    """
    study = resolved(study)
    folder.mkdir(parents=True, exist_ok=True)
    scanned(
        Path(study.data), folder / SCANNED, official_list=study.official_list or 1, progress=None, say=say
    )
    data = study_data(study, folder)
    videos, decoding = _decoding(study, data)
    with tempfile.TemporaryDirectory() as scratch:
        write_study(study, Path(scratch))
        shutil.copy(folder / SCANNED, scratch)
        timed = time_all(Path(scratch), workers, device)
    done = _done(folder)
    expected = expected_runs(study, data, timed, done)
    return Forecast(tuple(expected), workers, decoding, videos)


def _decoding(study: Study, data: PreparedData) -> tuple[int, float]:
    """Videos that are not in the cache yet, and the seconds they will take: those to be timed are decoded."""
    clip = study.recipe.clip
    missing = [
        v for v in seen_videos(study, data).videos if not cache_path(default_folder(), v, clip).is_file()
    ]
    first = data.manifest.with_videos(
        {v.name: v for c in study.conditions for v in timed_videos(study, data, c).videos}.values()
    )
    paths = {video.name for video in missing}
    now = sum(video.name in paths for video in first.videos)
    began = time.monotonic()
    open_frames(first, clip)
    seconds = time.monotonic() - began
    left = len(missing) - now
    return left, left * seconds / now if now else 0.0


def _done(folder: Path) -> set[tuple[str, str, str, int]]:
    if not (folder / "study.sqlite").is_file():
        return set()
    cells = Store(folder).status()
    return {(c.condition, c.variant, c.choice, c.seed) for c in cells if c.state == "done"}


def expected_runs(study: Study, data: PreparedData, timed: dict[str, Timed], done: set) -> Iterator[Expected]:
    """Nobody knows yet which choice will be judged: such runs cost the mean of all choices."""
    for condition in study.conditions:
        manifest = own_videos(study.at(condition), data, 0)
        for variant in study.variants:
            costs = {}
            for choice in study.grid.choices(variant, condition):
                kind = kind_of(study, condition, variant, choice)
                costs[text_of(choice)] = _cost(manifest, kind.recipe, timed[str(kind)], study.seconds)
            mean = _mean(list(costs.values()))
            left = [
                cost.tried
                for text, cost in costs.items()
                for seed in range(FIRST_SEED, FIRST_SEED + study.grid.runs)
                if len(costs) > 1 and (str(condition), variant, text, seed) not in done
            ]
            if left:
                seconds = statistics.mean(left)
                yield Expected(str(condition), variant, len(costs), len(left), mean.steps, mean.step, seconds)
            left = [
                mean.judged + (study.time_runs is None or seed < study.time_runs) * mean.disordered
                for seed in range(study.seeds)
                if (str(condition), variant, "", seed) not in done
            ]
            if left:
                seconds = statistics.mean(left)
                yield Expected(str(condition), variant, 0, len(left), mean.steps, mean.step, seconds)


@dataclass(frozen=True)
class _Cost:
    """Seconds of one run."""

    steps: float
    step: float
    tried: float  # for a choice: validated, never tested
    judged: float  # tested once
    disordered: float  # to test it shuffled, reversed and frozen, too


def _cost(manifest: Manifest, recipe: Recipe, timed: Timed, seconds: float | None) -> _Cost:
    training = recipe.training
    train, val, test = (len(manifest.of_split(split).videos) for split in ("train", "val", "test"))
    if seconds is not None:
        training = dataclasses.replace(training, steps=max(1, round(seconds / timed.step)))
    budget = budget_of(training, math.ceil(train / (training.batch_size * training.accumulate)))
    checks = math.ceil(budget.epochs / training.validate_every)
    trained = timed.start + budget.steps * timed.step + checks * val * timed.video
    return _Cost(
        steps=budget.steps,
        step=timed.step,
        tried=trained,
        judged=trained + test * timed.video,
        disordered=3 * test * timed.video,
    )


def _mean(costs: list[_Cost]) -> _Cost:
    return _Cost(*(statistics.mean(getattr(one, f.name) for one in costs) for f in dataclasses.fields(_Cost)))
