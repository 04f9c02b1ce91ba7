"""The labelled videos that a verb judges or reads: found, scanned where they were not, and usable."""

import dataclasses
from pathlib import Path

from timelift.cli.common import counting, limited, say
from timelift.records import DataError, Manifest


def usable_videos(
    data: Path,
    split: str,
    *,
    official_list: int,
    limit: int | None,
    bad_videos: str,
    label_separator: str = "",
    talk=say,
) -> Manifest:
    """The usable videos of a split, or of all; what is left out is said.

    label_separator: of labels that may hold several classes; these videos need not.

    Raises:
        DataError: for a split without videos, or bad videos under the policy "error".
    """
    from timelift.data.layouts import read_dataset
    from timelift.data.scan import scan, usable

    found = read_dataset(data, official_list=official_list)
    talk(f"{found.kind}: {len(found.manifest.videos)} videos of {len(found.manifest.classes)} classes")
    if label_separator:
        found = dataclasses.replace(found, manifest=found.manifest.separated(label_separator, any_label=True))
    manifest = limited(found.manifest if split == "all" else _part(found.manifest, split), limit)
    if any(video.status == "unscanned" for video in manifest.videos):
        with counting("scanning", len(manifest.videos)) as progress:
            manifest = scan(manifest, progress=progress)
    manifest, notes = usable(manifest, bad_videos)  # type: ignore[arg-type]
    for note in notes:
        talk(note)
    return manifest


def _part(manifest: Manifest, split: str) -> Manifest:
    part = manifest.of_split(split)
    if part.videos:
        return part
    there = sorted({video.split or "none" for video in manifest.videos})
    raise DataError(
        f"no video is in the split {split!r}; there are {', '.join(there)}: give --split, or --split all"
    )
