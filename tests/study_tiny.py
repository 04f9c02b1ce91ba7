"""A whole study in this process: two tiny variants, in seconds."""

from pathlib import Path

import torch

from timelift.comparison.study import Study
from timelift.records.recipe import parse_recipe
from timelift.runs.study import complete_study, open_study, prepare_study
from timelift.runs.worker import work
from videos_tiny import SETTINGS

CPU = torch.device("cpu")


def tiny_study(data: Path, net: str) -> Study:
    recipe: dict = {}
    for key, value in (setting.split("=") for setting in SETTINGS):
        table, field = key.split(".")
        recipe.setdefault(table, {})[field] = int(value)
    return Study(
        name="tiny",
        data=str(data),
        variants=(f"{net} Framewise()", f"{net} Factorize(frames=3)"),
        seeds=1,
        selection="last",
        time_runs=0,
        linear_probe=False,
        recipe=parse_recipe(recipe),
    )


def run_here(study: Study, folder: Path) -> None:
    """The whole study in this process."""
    study = open_study(study, folder)
    prepare_study(study, folder, say=lambda _: None)
    complete_study(study, folder, lambda watch: work(folder, CPU, "here"), watch=lambda _: None)
