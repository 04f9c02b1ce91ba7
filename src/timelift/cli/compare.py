"""`timelift compare`: variants x paired seeds, every run stored, and what can be concluded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timelift.cli.common import (
    AllowLeaks,
    Device,
    OfficialList,
    RecipeFile,
    Settings,
    chosen_recipe,
    counting,
    say,
)
from timelift.cli.crew import crew, processes
from timelift.records.errors import UsageError

if TYPE_CHECKING:
    from timelift.comparison.study import Study

IN_THE_FILE = {  # what a study file says itself
    "variant": "--variant",
    "videos_per_class": "--videos-per-class",
    "recipe": "--recipe",
    "settings": "--set",
    "bad_videos": "--bad-videos",
    "allow_leaks": "--allow-leaks",
    "selection": "--selection",
    "official_list": "--official-list",
}


def command(
    context: typer.Context,
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
    allow_leaks: AllowLeaks = False,
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
    from timelift.runs.study import open_study, prepare_study, time_budgets

    if source.suffix == ".toml":
        study, folder = _from_file(context, source, seeds), output or source.with_suffix("")
    elif output is None:
        raise UsageError("--output: give the study a folder, as --output study/")
    else:
        told = chosen_recipe(recipe, settings)
        study = _from_options(
            source, variant, seeds, videos_per_class, told, bad_videos, selection, official_list, allow_leaks
        )
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
    with crew(on, workers, device) as those:
        study = open_study(study, folder)
        with counting("scanning", None) as scanning, counting("decoding", None) as decoding:
            prepare_study(study, folder, say, scanning, decoding)
        if retry_failed:
            from timelift.comparison.store import Store

            Store(folder).retry_failed()
        if on == "local":
            time_budgets(study, folder, *processes(workers, device), say)
        say(f"{described(study)} {those.words}")
        with watching(study) as watch:
            those.run(study, folder, watch)
    from timelift.cli.report import print_and_write

    print_and_write(folder)


def foresee(study, folder: Path, on: str, workers: int | None, device: str) -> None:
    """Time a few steps of everything that is to be run, and print what that comes to."""
    from timelift.cli.dry_run import print_forecast
    from timelift.runs.forecast import forecast

    if on != "local":
        raise UsageError(f"--dry-run times the steps of local processes: leave --on {on} out")
    print_forecast(forecast(study, folder, *processes(workers, device), say))


def _from_file(context: typer.Context, source: Path, seeds: int | None) -> "Study":
    import dataclasses

    from timelift.comparison.study_file import parse_study

    for name, option in IN_THE_FILE.items():
        source_of = context.get_parameter_source(name)
        if source_of is not None and source_of.name == "COMMANDLINE":
            raise UsageError(
                f"{option} does not go with a study file: change {source}, or give the data set instead"
            )
    study = parse_study(source)
    if seeds is None or seeds == study.seeds:
        return study
    return dataclasses.replace(study, seeds=seeds, max_seeds=max(seeds, study.max_seeds or 0))


def _from_options(
    source, variants, seeds, videos_per_class, recipe, bad_videos, selection, official_list, allow_leaks
):
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
        allow_leaks=allow_leaks,
    )


def print_status(folder: Path, every_cell: bool) -> None:
    """How far a study is."""
    from timelift.comparison.progress import progress_text
    from timelift.comparison.store import Store
    from timelift.records.errors import DataError

    if not (folder / "study.sqlite").is_file():
        raise DataError(f"{folder} holds no study: give the --output of a `timelift compare`")
    print(progress_text(Store(folder).status(), every_cell))
