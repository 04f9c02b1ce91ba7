"""`timelift flow`: the optical flow of every video, as a data set that every verb takes."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Data, OfficialList, counting, needs_new, say

VIDEOS = "videos.csv"  # the scanned videos, kept beside their flow


def command(
    data: Data,
    output: Annotated[Path, typer.Option(help="The folder to make; what was begun there goes on.")],
    method: Annotated[
        str, typer.Option(help="dis (fast), or tvl1 (the papers', about a hundred times slower).")
    ] = "dis",
    bound: Annotated[float, typer.Option(help="Longest motion that is kept, in pixels a frame.")] = 20.0,
    short_side: Annotated[
        int, typer.Option(help="Of the frames, before the flow; smaller ones stay.", min=1)
    ] = 256,
    official_list: OfficialList = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.", min=1)] = None,
) -> None:
    """Compute the optical flow of every video, as a data set of its own.

    Labels, splits and groups stay. Train on it with --set clip.channels=2.

    Example: timelift flow videos/ --output flow/ --method tvl1
    """
    from timelift.data.flow import begin_flow, make_flow
    from timelift.data.flow_methods import FlowSettings
    from timelift.runs.data import check_same_source, scanned

    needs_new(output, "manifest.csv")
    settings = FlowSettings(method, bound, short_side)
    begin_flow(output, settings)
    check_same_source(data, output / VIDEOS, official_list)
    with counting("scanning", None) as progress:
        manifest = scanned(data, output / VIDEOS, official_list=official_list, progress=progress, say=say)
    with counting(method, len(manifest.videos)) as progress:
        flow = make_flow(manifest, output, settings, workers=workers, progress=progress)
    for video in [v for v in flow.videos if v.status != "ok"][:20]:
        say(f"{video.status}: {video.name}: {video.reason}")
    for status, count in sorted(Counter(video.status for video in flow.videos).items()):
        print(f"{count} {status}")
    told = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(settings).items())
    print(f"{sum(video.frames for video in flow.videos)} fields ({told}); wrote {output / 'manifest.csv'}")
