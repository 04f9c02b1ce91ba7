"""`timelift evaluate`: a trained network on labelled videos, by every metric, at both levels."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Data, Device, Limit, OfficialList, Separator, counting, say


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, or of a fusion.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="The predictions to write (npz).")] = Path("predictions.npz"),
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "test",
    clips: Annotated[
        int | None,
        typer.Option(help="Clips a video; 0 slides over it. Without it 1, and 10 of long videos.", min=0),
    ] = None,
    crops: Annotated[
        str | None, typer.Option(help="centre, three or ten. Without it centre, and three of long videos.")
    ] = None,
    window_stride: Annotated[
        int, typer.Option(help="Frames between sliding windows, with --clips 0.", min=0)
    ] = 0,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Every video uncropped in one pass, where the network takes any size."),
    ] = False,
    most_frames: Annotated[int, typer.Option(help="Frames of a whole video at once.", min=1)] = 256,
    fusion: Annotated[
        str, typer.Option(help="Of a video's views: mean, or sci (by how sure each is).")
    ] = "mean",
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    official_list: OfficialList = 1,
    label_separator: Separator = "",
    device: Device = "auto",
    limit: Limit = None,
) -> None:
    """Judge a trained network on labelled videos.

    Videos are long if half of them span ten clips or more: then 10 clips x 3 crops are seen of each. On
    several processes, with the same answers: torchrun --nproc-per-node 2 -m timelift evaluate ...

    Example: timelift evaluate run/ videos/ --clips 10 --crops three
    """
    from timelift.cli.videos import usable_videos
    from timelift.evaluation.metrics import summary
    from timelift.records.predictions import write_predictions
    from timelift.runs.judging import Asked, judged
    from timelift.runs.surroundings import pick_device
    from timelift.runs.train_one import share_of
    from timelift.training.distributed import join_processes, own_device, say_from_first

    where = pick_device(device)
    processes = join_processes(where)
    where = own_device(where, processes)
    talk = say if processes.is_first else _silent
    manifest = None
    if processes.is_first:
        manifest = usable_videos(
            data,
            split,
            official_list=official_list,
            limit=limit,
            bad_videos=bad_videos,
            label_separator=label_separator,
        )
    manifest = say_from_first(manifest, processes)
    assert manifest is not None
    bar = counting("judging", len(manifest.videos)) if processes.is_first else contextlib.nullcontext()
    with bar as progress:
        answers = judged(
            run,
            manifest,
            Asked(clips, crops, window_stride, fusion, whole, most_frames),
            where,
            share=share_of(processes),
            talk=talk,
            progress=(lambda done, of: progress(done)) if progress else None,
        )
    if not processes.is_first:
        return
    write_predictions(answers, output)
    for name, value in summary(answers).items():
        print(f"{name} {value:.4f}")
    print(f"{len(manifest.videos)} videos; wrote {output}")


def _silent(line: str) -> None:
    """The other processes: the first one speaks."""
