"""`timelift split`: train, val and test by group, written as a manifest."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Data, OfficialList, Seed, say


def command(
    data: Data,
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("manifest.csv"),
    shares: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "0.6,0.2,0.2",
    official_list: OfficialList = 1,
    seed: Seed = 0,
) -> None:
    """Split videos into train, val and test by group.

    No group stands on two sides; classes are as balanced as the groups allow.

    Example: timelift split videos/ --shares 0.7,0.1,0.2 --output manifest.csv
    """
    from timelift.data.layouts import read_dataset
    from timelift.data.split import check_leaks, split
    from timelift.records.errors import UsageError
    from timelift.records.video import write_manifest

    try:
        train, val, test = (float(part) for part in shares.split(","))
    except ValueError:
        raise UsageError(f"--shares {shares}: wanted three numbers, as 0.6,0.2,0.2") from None
    found = read_dataset(data, official_list=official_list)
    say(f"{found.kind}: {len(found.manifest.videos)} videos of {len(found.manifest.classes)} classes")
    manifest = split(found.manifest, shares=(train, val, test), seed=seed)
    check_leaks(manifest)
    write_manifest(manifest, output)
    for name, count in Counter(video.split for video in manifest.videos).items():
        print(f"{count} videos in {name}")
    print(f"wrote {output} (split by group, seed {seed})")
