"""`timelift compare`: variants x paired seeds, every run stored, and what can be concluded."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import (
    Device,
    OfficialList,
    RecipeFile,
    Settings,
    chosen_recipe,
    console,
    counting,
    say,
)
from timelift.records.errors import UsageError


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
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only print how far the study is.")] = False,
) -> None:
    """Compare variants with paired seeds, and say what can be concluded.

    Run i of every variant trains on the same videos in the same order. Stop it as you like: the same command
    goes on where it was.

    Example: timelift compare videos/ --variant "timm:tf_efficientnet_lite0" --variant
    "timm:tf_efficientnet_lite0 Inflate(frames=3)" --seeds 5 --output study/
    """
    from timelift.comparison.study_file import parse_study
    from timelift.runs.study import open_study, prepare_study, run_study
    from timelift.runs.surroundings import pick_device
    from timelift.runs.workers import default_workers

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
        print_status(folder)
        return
    where = pick_device(device)
    count = workers or default_workers(where)
    study = open_study(study, folder)
    with counting("scanning", None) as scanning, counting("decoding", None) as decoding:
        prepare_study(study, folder, say, scanning, decoding)
    if retry_failed:
        from timelift.comparison.store import Store

        Store(folder).retry_failed()
    say(f"{described(study)} in {count} process(es) on {where}")
    with watching(study.recipe.training.epochs) as watch:
        run_study(study, folder, count, where, watch)
    from timelift.cli.report import print_and_write

    print_and_write(folder)


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


def print_status(folder: Path) -> None:
    """One line a cell: how far it is."""
    from timelift.comparison.store import Store
    from timelift.records.errors import DataError

    if not (folder / "study.sqlite").is_file():
        raise DataError(f"{folder} holds no study: give the --output of a `timelift compare`")
    for cell in Store(folder).status():
        ended = (
            f"  {cell.error.strip().splitlines()[-1]}"
            if cell.state == "failed" and cell.error.strip()
            else ""
        )
        where = f"{cell.condition}: " if cell.condition else ""
        choice = f"  (tries {cell.choice})" if cell.choice else ""
        print(f"{cell.state:8} {where}seed {cell.seed}  {cell.variant}{choice}{ended}")


def described(study) -> str:
    """What there is to run: "4 rows x 30 seeds x 5 conditions, after 90 selection runs"."""
    tried = sum(
        len(choices) * study.grid.runs
        for condition in study.conditions
        for variant in study.variants
        if len(choices := study.grid.choices(variant, condition)) > 1
    )
    conditions = f" x {len(study.conditions)} conditions" if len(study.conditions) > 1 else ""
    after = f", after {tried} selection runs," if tried else ""
    return f"{len(study.cells)} rows x {study.seeds} seeds{conditions}{after}"


def watching(epochs: int):
    """A bar over all runs, with the epochs of those that train now."""
    from contextlib import contextmanager

    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs {task.fields[failed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )

    @contextmanager
    def bar():
        with Progress(*columns, console=console) as shown:
            task = shown.add_task("training", total=None, failed="")

            def watch(store) -> None:
                cells = store.status()
                total = len(cells) * epochs
                ended = [cell for cell in cells if cell.state in ("done", "failed")]
                epochs_done = sum(_epochs(store, cell) for cell in cells if cell.state == "running")
                failed = sum(cell.state == "failed" for cell in cells)
                words = f"({failed} failed)" if failed else ""
                shown.update(
                    task, completed=min(len(ended) * epochs + epochs_done, total), total=total, failed=words
                )

            yield watch

    return bar()


def _epochs(store, cell) -> int:
    log = store.run_folder(cell) / "log.csv"
    try:
        return max(0, len(log.read_bytes().splitlines()) - 1)
    except OSError:
        return 0
