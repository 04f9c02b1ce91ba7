"""`timelift compare`: variants x paired seeds, every run stored, and what can be concluded."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timelift.cli.common import (
    Device,
    OfficialList,
    RecipeFile,
    Settings,
    chosen_recipe,
    counting,
    say,
)
from timelift.records.errors import UsageError

if TYPE_CHECKING:
    import torch


def command(
    source: Annotated[Path, typer.Argument(help="STUDY.toml, or a data set: folder, CSV, list or manifest.")],
    variant: Annotated[
        list[str] | None, typer.Option(help="A variant; give two or more. The first is the baseline.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of every variant.", min=1)] = None,
    output: Annotated[
        Path | None, typer.Option(help="The folder of the study; what is there goes on.")
    ] = None,
    videos_per_class: Annotated[int | None, typer.Option(help="Train on a balanced subset.", min=1)] = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    selection: Annotated[str, typer.Option(help="validation or last: which epoch's weights.")] = "validation",
    official_list: OfficialList = 1,
    workers: Annotated[
        int | None, typer.Option(help="Local processes; by default one a core.", min=1)
    ] = None,
    device: Device = "auto",
    on: Annotated[str, typer.Option(help="local processes, or ray: a Ray cluster (extra `ray`).")] = "local",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print what would be run, and how long it takes by timed steps."),
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Only print how far the study is.")] = False,
    all_cells: Annotated[bool, typer.Option("--all", help="With --status: a line for every run.")] = False,
) -> None:
    """Compare variants with paired seeds, and say what can be concluded.

    Run i of every variant trains on the same videos in the same order. Stop it as you like: the same command
    goes on where it was.

    Example: timelift compare videos/ --variant "timm:tf_efficientnet_lite0" --variant
    "timm:tf_efficientnet_lite0 Inflate(frames=3)" --seeds 5 --output study/
    """
    from timelift.cli.watching import described, watching
    from timelift.comparison.study_file import parse_study
    from timelift.runs.study import open_study, prepare_study, time_budgets

    if source.suffix == ".toml":
        given = [
            name
            for name, value in (("--variant", variant), ("--set", settings), ("--recipe", recipe))
            if value
        ]
        if given:
            raise UsageError(
                f"{given[0]} does not go with a study file: change {source}, or give the data set instead"
            )
        study = parse_study(source)
        study = _more_seeds(study, seeds)
        folder = output or source.with_suffix("")
    else:
        study = _from_options(
            source,
            variant,
            seeds,
            videos_per_class,
            chosen_recipe(recipe, settings),
            bad_videos,
            selection,
            official_list,
        )
        if output is None:
            raise UsageError("--output: give the study a folder, as --output study/")
        folder = output
    if status:
        print_status(folder, all_cells)
        return
    if dry_run:
        foresee(study, folder, on, workers, device)
        return
    if on != "local" and study.seconds is not None:
        raise UsageError(
            f"seconds={study.seconds:g} is timed in local processes: with --on {on} give training.steps"
        )
    with crew(on, workers, device) as (where, run):
        study = open_study(study, folder)
        with counting("scanning", None) as scanning, counting("decoding", None) as decoding:
            prepare_study(study, folder, say, scanning, decoding)
        if retry_failed:
            from timelift.comparison.store import Store

            Store(folder).retry_failed()
        if on == "local":
            time_budgets(study, folder, *processes(workers, device), say)
        say(f"{described(study)} {where}")
        with watching(study) as watch:
            run(study, folder, watch)
    from timelift.cli.report import print_and_write

    print_and_write(folder)


def foresee(study, folder: Path, on: str, workers: int | None, device: str) -> None:
    """Time a few steps of everything that is to be run, and print what that comes to."""
    from timelift.cli.dry_run import print_forecast
    from timelift.runs.forecast import forecast

    if on != "local":
        raise UsageError(f"--dry-run times the steps of local processes: leave --on {on} out")
    print_forecast(forecast(study, folder, *processes(workers, device), say))


def processes(workers: int | None, device: str) -> tuple[int, "torch.device"]:
    """How many local processes, and the device that they share out."""
    from timelift.runs.devices import default_workers
    from timelift.runs.surroundings import pick_device

    where = pick_device(device)
    return workers or default_workers(where), where


@contextmanager
def crew(on: str, workers: int | None, device: str):
    """Who runs the cells: (in words, a call with study, folder and watch that runs all that are not done)."""
    from timelift.runs.study import complete_study, run_study

    if on == "local":
        count, where = processes(workers, device)
        yield (
            f"in {count} process(es) on {where}",
            lambda study, folder, watch: run_study(study, folder, count, where, watch),
        )
    elif on == "ray":
        from timelift.runs.on_ray import connect, disconnect, run_on_ray

        cluster = connect(workers, device)
        try:
            yield (
                str(cluster),
                lambda study, folder, watch: complete_study(
                    study, folder, lambda watch: run_on_ray(folder, cluster, watch), watch
                ),
            )
        finally:
            disconnect()
    else:
        raise UsageError(f"--on {on}: wanted local or ray")


def _more_seeds(study, seeds: int | None):
    import dataclasses

    if seeds is None or seeds == study.seeds:
        return study
    return dataclasses.replace(study, seeds=seeds, max_seeds=max(seeds, study.max_seeds or 0))


def _from_options(source, variants, seeds, videos_per_class, recipe, bad_videos, selection, official_list):
    from timelift.comparison.study import Study, check_kind

    if not variants or len(variants) < 2:
        raise UsageError("--variant: a comparison needs two or more, the first is the baseline")
    return Study(
        name=source.resolve().stem or "study",
        data=str(source.resolve()),
        variants=tuple(variants),
        seeds=5 if seeds is None else seeds,
        videos_per_class=videos_per_class,
        recipe=recipe,
        bad_videos=check_kind("bad_videos", bad_videos),  # type: ignore[arg-type]
        selection=check_kind("selection", selection),  # type: ignore[arg-type]
        official_list=official_list,
    )


def print_status(folder: Path, every_cell: bool) -> None:
    """How far a study is."""
    from timelift.comparison.progress import progress_text
    from timelift.comparison.store import Store
    from timelift.records.errors import DataError

    if not (folder / "study.sqlite").is_file():
        raise DataError(f"{folder} holds no study: give the --output of a `timelift compare`")
    print(progress_text(Store(folder).status(), every_cell))
