"""`timelift scan`: every video decoded once, and a manifest that says what was found."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from timelift.cli.common import Data, OfficialList, counting, say


def command(
    data: Data,
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("manifest.csv"),
    official_list: OfficialList = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.", min=1)] = None,
) -> None:
    """Decode every video once and write the manifest.

    Example: timelift scan videos/ --output manifest.csv
    """
    from timelift.data.layouts import read_dataset
    from timelift.data.scan import scan
    from timelift.records.video import write_manifest

    found = read_dataset(data, official_list=official_list)
    say(f"{found.kind}: {len(found.manifest.videos)} videos of {len(found.manifest.classes)} classes")
    for name in found.ignored[:5]:
        say(f"ignored, no video: {name}")
    with counting("scanning", len(found.manifest.videos)) as progress:
        manifest = scan(found.manifest, workers=workers, progress=progress)
    write_manifest(manifest, output)
    for video in [v for v in manifest.videos if v.status != "ok"][:20]:
        say(f"{video.status}: {video.path}: {video.reason}")
    for status, count in sorted(Counter(video.status for video in manifest.videos).items()):
        print(f"{count} {status}")
    for split, count in sorted(Counter(video.split for video in manifest.videos).items()):
        print(f"{count} videos in {split or 'no split'}")
    print(f"wrote {output}")
