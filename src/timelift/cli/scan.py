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
    retry_quarantine: Annotated[
        bool, typer.Option("--retry-quarantine", help="Open files again at which a decoder crashed or hung.")
    ] = False,
) -> None:
    """Decode every video once and write the manifest.

    Stop it as you like: the same command goes on where it was. Files at which a decoder crashed or hung are
    listed in OUTPUT.quarantine.csv and not opened again.

    Example: timelift scan videos/ --output manifest.csv
    """
    from timelift.data.layouts import read_dataset
    from timelift.data.scan import scan
    from timelift.data.scan_journal import journal_of
    from timelift.records.video import write_manifest

    found = read_dataset(data, official_list=official_list)
    say(f"{found.kind}: {len(found.manifest.videos)} videos of {len(found.manifest.classes)} classes")
    for name in found.ignored[:5]:
        say(f"ignored, no video: {name}")
    with (
        counting("scanning", len(found.manifest.videos)) as progress,
        journal_of(output, retry=retry_quarantine) as journal,
    ):
        manifest = scan(found.manifest, workers=workers, progress=progress, journal=journal)
        write_manifest(manifest, output)
    for path, (_, reason) in sorted(journal.quarantine.items()):
        say(f"in quarantine: {path}: {reason}")
    for video in [v for v in manifest.videos if v.status != "ok"][:20]:
        say(f"{video.status}: {video.name}: {video.reason}")
    for status, count in sorted(Counter(video.status for video in manifest.videos).items()):
        print(f"{count} {status}")
    for split, count in sorted(Counter(video.split for video in manifest.videos).items()):
        print(f"{count} videos in {split or 'no split'}")
    print(f"wrote {output}")
