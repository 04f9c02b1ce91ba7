"""`timelift predict`: the top classes of every stretch of a video, as CSV or JSON on standard output."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timelift.cli.common import Device, say

if TYPE_CHECKING:
    import torch

    from timelift.deploy.exported import ExportedModel
    from timelift.deploy.optimize import OptimizedModel
    from timelift.lifting import VideoModel


def command(
    run: Annotated[
        Path, typer.Argument(help="The folder of a finished run, or a file of `timelift export`.")
    ],
    videos: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; none or - reads a list.")
    ] = None,
    format: Annotated[str, typer.Option(help="csv or json.")] = "csv",
    top: Annotated[int, typer.Option(help="Classes a stretch.", min=1)] = 5,
    window_stride: Annotated[
        int, typer.Option(help="Frames between stretches; 0: one behind the other.", min=0)
    ] = 0,
    device: Device = "auto",
    optimize: Annotated[
        bool,
        typer.Option("--optimize", help="In the form that is measured the quickest: `timelift optimize`."),
    ] = False,
) -> None:
    """Say what videos show: top classes over time.

    A video that cannot be read is named on standard error; the others are answered, and the exit code is 1.

    Example: timelift predict run/ holiday.mp4 clips/ --top 3 --format json
    """
    from timelift.evaluation.predict import to_csv, to_json
    from timelift.records.errors import DataError, UsageError
    from timelift.runs.exported import load_predictor
    from timelift.runs.windows import answers_over_time

    if format not in ("csv", "json"):
        raise UsageError(f"--format {format}: csv or json")
    loaded, where = load_predictor(run, device)
    model = _optimized(loaded, where) if optimize else loaded
    paths = list(_paths(videos))
    if not paths:
        raise DataError("no videos to predict: give files or folders, or a list on standard input")
    collected, failed = [], 0
    for i, path in enumerate(paths):
        try:
            answers = answers_over_time(model, path, top, window_stride, where)
        except DataError as error:
            say(f"timelift: {error}")
            failed += 1
            continue
        if format == "csv":
            sys.stdout.write(to_csv(answers, header=i - failed == 0))
            sys.stdout.flush()
        collected += answers
    if format == "json":
        sys.stdout.write(to_json(collected))
    if failed:
        raise DataError(f"{failed} of {len(paths)} video(s) could not be read")


def _optimized(model: "VideoModel | ExportedModel", where: "torch.device") -> "OptimizedModel":
    from timelift.deploy.optimize import optimize
    from timelift.lifting import VideoModel
    from timelift.records.errors import UsageError

    if not isinstance(model, VideoModel):
        raise UsageError("--optimize: an exported file is what it is; give the run's folder")
    made = optimize(model, model.transform.example(1).to(where), compiled=False)
    say(f"optimized: {made.chosen}, {made.speedup:.2f} times as fast")
    return made


def _paths(given: list[Path] | None) -> Iterator[Path]:
    """Videos as they are, the videos of folders in order, a list on standard input for nothing or `-`."""
    from timelift.data.tree import videos_at

    if not given or [str(path) for path in given] == ["-"]:
        given = [Path(line.rstrip("\n")) for line in sys.stdin if line.strip()]
    for path in given:
        yield from videos_at(path)
