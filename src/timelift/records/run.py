"""The record of one run: one variant trained with one seed on one set of videos."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from timelift.records.recipe import Recipe, parse_recipe, recipe_to_dict
from timelift.records.whole import write_text_whole

WAITING = "waiting for data"  # among a run's seconds: a part of those of training

RunState = Literal["new", "running", "done", "failed", "stopped"]  # stopped: not run, by early stop


@dataclass(frozen=True)
class Run:
    """What is stored as run.json beside the weights, the log and the predictions of a run."""

    variant: str  # canonical text; or "linear probe"
    seed: int
    recipe: Recipe
    classes: tuple[str, ...]
    data_digest: str  # Manifest.digest() of train + val + test videos
    train_digest: str  # of the training videos in order: equal for run i of every variant
    started_from: str  # where the weights came from, in words
    selection: str  # "last epoch: ..." or "best validation epoch 7 of 20"
    parameters: int
    metrics: dict[str, float] = field(default_factory=dict)  # "acc/top1/video" -> fraction
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    seconds: dict[str, float] = field(
        default_factory=dict
    )  # "train", "evaluate", and WAITING, a part of "train"
    notes: tuple[str, ...] = ()  # anything a reader of the report must know
    multiply_adds: int | None = None  # of one clip; None: not counted
    order_digest: str = ""  # of the first epoch's order of the training clips; "" where none was recorded
    start_digest: str = ""  # of all weights before training; "" where none was recorded
    latency: float | None = None  # seconds for one clip, batch 1, eval, on `hardware`; None: not measured

    @property
    def share_waiting(self) -> float | None:
        """The part of the training time in which no clips were there; None where it was not recorded."""
        if WAITING not in self.seconds or not self.seconds.get("train"):
            return None
        return self.seconds[WAITING] / self.seconds["train"]


def write_run(run: Run, folder: Path) -> None:
    """Write run.json, whole or not at all; its presence says that the run is finished."""
    data = {f.name: getattr(run, f.name) for f in dataclasses.fields(run)}
    data["recipe"] = recipe_to_dict(run.recipe)
    write_text_whole(Path(folder) / "run.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_run(folder: Path) -> Run:
    """Read the run.json of a run's folder."""
    data = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    data["recipe"] = parse_recipe(data["recipe"])
    data["classes"] = tuple(data["classes"])
    data["notes"] = tuple(data["notes"])
    return Run(**data)
