"""`timelift shards`: videos packed into tar archives that every verb reads."""

from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Data, OfficialList, Seed, counting, say

SOURCE = "source.csv"  # the scanned videos, kept beside their shards


def command(
    data: Data,
    output: Annotated[Path, typer.Option(help="The folder of the shards; what is there already is kept.")],
    megabytes: Annotated[int, typer.Option(help="Of one shard, about.", min=1)] = 256,
    bad_videos: Annotated[str, typer.Option(help="error, exclude or keep-readable.")] = "error",
    official_list: OfficialList = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.", min=1)] = None,
    seed: Seed = 0,
) -> None:
    """Pack videos into tar shards (webdataset's format); the folder is a data set for every verb.

    Example: timelift shards videos/ --output shards/ --megabytes 512
    """
    from timelift.data.scan import usable
    from timelift.data.shards import MANIFEST, shards_in, write_shards
    from timelift.runs.data import check_same_source, scanned

    output.mkdir(parents=True, exist_ok=True)
    check_same_source(data, output / SOURCE, official_list)
    with counting("scanning", None) as progress:
        manifest = scanned(data, output / SOURCE, official_list=official_list, progress=progress, say=say)
    manifest, notes = usable(manifest, bad_videos)  # type: ignore[arg-type]
    for note in notes:
        say(note)
    with counting("packing", None, unit="shards") as progress:
        write_shards(
            manifest,
            output,
            shard_bytes=megabytes * 10**6,
            seed=seed,
            workers=workers,
            progress=progress,
        )
    print(f"{len(manifest.videos)} videos in {len(shards_in(output))} shard(s); wrote {output / MANIFEST}")
