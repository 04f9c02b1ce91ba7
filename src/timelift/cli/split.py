"""`timelift split`: train, val and test by group, written as a manifest."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from timelift.cli.common import AllowLeaks, Data, OfficialList, Seed, Separator, counting, say


def command(
    data: Data,
    output: Annotated[Path, typer.Option(help="The manifest to write.")] = Path("manifest.csv"),
    shares: Annotated[str, typer.Option(help="Shares of train, val and test.")] = "0.6,0.2,0.2",
    by: Annotated[
        Literal["group", "clip", "given"],
        typer.Option(
            help="group; clip: each video for itself; given: the split that is there, only checked."
        ),
    ] = "group",
    group_column: Annotated[str | None, typer.Option(help="The CSV's column that names the group.")] = None,
    group_pattern: Annotated[
        str | None,
        typer.Option(help="A regular expression on paths: what its parentheses match is the group."),
    ] = None,
    allow_leaks: AllowLeaks = False,
    drop_leaks: Annotated[
        bool,
        typer.Option("--drop-leaks", help="Leave out training videos of a group, or bytes, of the test."),
    ] = False,
    official_list: OfficialList = 1,
    label_separator: Separator = "",
    seed: Seed = 0,
) -> None:
    """Split videos into train, val and test by group.

    No group and no copy of a file stands on two sides; classes are as balanced as the groups allow.

    Example: timelift split videos/ --group-pattern "_g([0-9]+)_" --shares 0.7,0.1,0.2 --output manifest.csv
    """
    from timelift.data.layouts import read_dataset
    from timelift.data.leaks import (
        check_leaks,
        leak_notes,
        look_alikes,
        look_notes,
        with_leaks_recorded,
        without_leaks,
    )
    from timelift.data.scan import hashed
    from timelift.data.split import split, split_by_clip
    from timelift.records.video import write_manifest

    parts = _three(shares)
    found = read_dataset(
        data, official_list=official_list, group_pattern=group_pattern, group_column=group_column
    )
    say(f"{found.kind}: {len(found.manifest.videos)} videos of {len(found.manifest.classes)} classes")
    with counting("reading bytes", len(found.manifest.videos)) as progress:
        manifest = hashed(found.manifest, progress)
    if label_separator:
        manifest = manifest.separated(label_separator)
    if by != "given":
        manifest = (split if by == "group" else split_by_clip)(manifest, shares=parts, seed=seed)
    if drop_leaks:
        before, manifest = len(manifest.videos), without_leaks(manifest)
        say(f"left out {before - len(manifest.videos)} videos that stand on a judging side, too")
    leaks = check_leaks(manifest, allow=allow_leaks)
    manifest = with_leaks_recorded(manifest)
    for note in (*leak_notes(manifest, leaks), *look_notes(look_alikes(manifest))):
        say(note)
    write_manifest(manifest, output)
    for name, count in Counter(video.split for video in manifest.videos).items():
        print(f"{count} videos in {name or 'no split'}")
    how = "as given" if by == "given" else f"split by {by}, seed {seed}"
    print(f"wrote {output} ({how}{f', {len(leaks)} leaks allowed' if leaks else ''})")


def _three(shares: str) -> tuple[float, float, float]:
    from timelift.records.errors import UsageError

    try:
        train, val, test = (float(part) for part in shares.split(","))
    except ValueError:
        raise UsageError(f"--shares {shares}: wanted three numbers, as 0.6,0.2,0.2") from None
    return train, val, test
