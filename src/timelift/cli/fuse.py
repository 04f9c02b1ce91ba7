"""`timelift fuse`: finished runs, fused from what they answered, with what the fusion gains."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from timelift.cli.common import needs_new


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of finished runs, or npz files of predictions.")
    ],
    output: Annotated[Path, typer.Option(help="The folder to write, like a run's.")] = Path("fused"),
    method: Annotated[
        str,
        typer.Option(
            help="mean (of probabilities), sum (of logits), weighted (probabilities), or svm (linear, on "
            "scores, fitted on validation videos)."
        ),
    ] = "mean",
    weights: Annotated[str, typer.Option(help="For weighted: one number a run, as 1,2.")] = "",
) -> None:
    """Fuse runs of the same videos from what they answered, and say what that gains.

    Example: timelift fuse rgb/ flow/ --method weighted --weights 1,2 --output two-stream/
    """
    from timelift.runs.fuse import fuse, read_member, write_fused

    needs_new(output, "run.json")
    members = [read_member(path) for path in runs]
    fuser, fused = fuse(members, method, _numbers(weights))
    write_fused(fuser, members, fused, output)
    _print(fuser, members, fused)
    print(f"wrote {output}/")


def _numbers(text: str) -> list[float]:
    from timelift.records.errors import UsageError

    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError as error:
        raise UsageError(f"--weights {text!r}: numbers with commas between them, as 1,2") from error


def _print(fuser, members, fused) -> None:
    from timelift.comparison.mcnemar import exact_mcnemar
    from timelift.comparison.over_videos import group_count, interval_over_videos
    from timelift.comparison.wording import interval_text, p_text, points

    right = fused.correct()
    shown = Table()
    shown.add_column("run", overflow="fold")
    for heading in ("top-1, %", "fusion better by, points", "95 % interval, new videos", "McNemar"):
        shown.add_column(heading, justify="right", overflow="fold")
    for member in members:
        own = member.test.correct()
        shown.add_row(
            member.name,
            points(own.mean()),
            points((right - own).mean()),
            interval_text(interval_over_videos(right - own, fused.groups)),
            p_text(exact_mcnemar(own, right)),
        )
    shown.add_row(str(fuser), points(right.mean()), "", "", "")
    Console(highlight=False, width=None if sys.stdout.isatty() else 150).print(shown)
    groups = group_count(fused.groups, len(right))
    print(
        f"{len(right)} videos in {groups} groups. The intervals are of these trained networks on new videos "
        "like these, clustered by group; McNemar's p counts videos as independent. "
        "Neither speaks of training again."
    )
