"""From what the user gave to the videos that every run sees: found, scanned once, judged once, split once."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from timelift.data.layouts import read_dataset
from timelift.data.leaks import check_leaks, leak_notes, look_alikes, look_notes
from timelift.data.scan import scan, usable
from timelift.data.scan_journal import journal_of
from timelift.data.split import split, with_validation
from timelift.records import DataError, Manifest, UsageError, Video
from timelift.records.video import read_manifest, write_manifest

Policy = Literal["error", "exclude", "keep-readable"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class PreparedData:
    """The usable videos with their splits; what decides the epoch; what a reader of the report must know."""

    manifest: Manifest
    selection: str  # "validation", or why the last epoch is taken
    notes: tuple[str, ...]


def scanned(
    source: Path, kept_as: Path, *, official_list: int, progress: Callable[[int], None] | None, say: Say
) -> Manifest:
    """The manifest of a source, every file decoded once; kept as CSV, and read from there the next time."""
    if kept_as.is_file():
        say(f"videos: as scanned before, {kept_as}")
        return read_manifest(kept_as)
    found = read_dataset(source, official_list=official_list)
    say(f"videos: {found.kind}, {len(found.manifest.videos)} videos, {len(found.manifest.classes)} classes")
    if found.ignored:
        say(f"ignored {len(found.ignored)} file(s) that are no videos, the first: {found.ignored[0]}")
    manifest = found.manifest
    if any(video.status == "unscanned" for video in manifest.videos):
        with journal_of(kept_as) as journal:
            manifest = scan(manifest, progress=progress, journal=journal)
            write_manifest(manifest, kept_as)
        for path, (_, reason) in sorted(journal.quarantine.items()):
            say(f"in quarantine: {path}: {reason}")
    else:
        write_manifest(manifest, kept_as)
    return read_manifest(kept_as)


def check_same_source(source: Path, kept: Path, official_list: int) -> None:
    """Refuse to go on in a folder that was begun with other videos, labels, splits or groups.

    kept: the scanned manifest in that folder, if it got so far.

    Raises:
        UsageError: naming the folder.
    """
    if not kept.is_file():
        return
    now = read_dataset(source, official_list=official_list).manifest
    if _rows(now) != _rows(read_manifest(kept)):
        raise UsageError(
            f"{kept.parent} was begun with other videos, labels, splits or groups than {source} has: "
            "give another --output"
        )


def _rows(manifest: Manifest) -> set[tuple]:
    return {
        (manifest.full_path(v).resolve(), v.start, v.end, v.label, v.split, v.group) for v in manifest.videos
    }


def prepared(
    manifest: Manifest,
    *,
    policy: Policy,
    select_by_validation: bool,
    keep_validation: bool = False,
    allow_leaks: bool = False,
    seed: int = 0,
) -> PreparedData:
    """Judge and split a scanned manifest: the same answer for every variant and every run.

    select_by_validation: the epoch. keep_validation: hold validation videos for other choices, too.

    Raises:
        DataError: for bad videos under the policy "error", leaks between splits, a class on one side only.
    """
    _check_classes(manifest)
    before = len(manifest.videos)
    manifest, judged = usable(manifest, policy)
    notes = [*_left_out(policy, before, len(manifest.videos), len(judged)), *judged]
    there = {video.split for video in manifest.videos}
    if there > {""}:
        aside = len(manifest.of_split("").videos)
        notes.append(f"{aside} of {len(manifest.videos)} videos take no part: they are in no split")
    if there == {""}:
        manifest = split(manifest, seed=seed)
        notes.append(f"the data came without splits: made train, val and test by group, seed {seed}")
    elif "test" not in there and "val" in there:
        manifest = manifest.with_videos(_renamed(v, "val", "test") for v in manifest.videos)
        notes.append("the data came with val and without test: val is the test here, and selects nothing")
    elif "test" not in there or "train" not in there:
        raise DataError(
            f"the videos are of the split(s) {', '.join(sorted(map(repr, there)))}: wanted train and test"
        )
    notes += leak_notes(manifest, check_leaks(manifest, allow=allow_leaks))
    notes += look_notes(look_alikes(manifest))
    selection = "validation" if select_by_validation else "last epoch: as the study says"
    keep_validation = keep_validation or select_by_validation
    if keep_validation and not any(v.split == "val" for v in manifest.videos):
        manifest, sentence = with_validation(manifest, seed=seed)
        notes.append(sentence)
        if select_by_validation and not any(v.split == "val" for v in manifest.videos):
            selection = sentence
    if not keep_validation:
        manifest = manifest.with_videos(v for v in manifest.videos if v.split != "val")
    return PreparedData(_both_sides(manifest), selection, tuple(notes))


def _left_out(policy: Policy, before: int, after: int, bad: int) -> list[str]:
    if not bad:
        return []
    return [
        f"bad_videos = {policy!r}: {before - after} of {before} videos left out, the same for every variant "
        f"and run; {bad - before + after} kept although not as they should be"
    ]


def _renamed(video: Video, old: str, new: str) -> Video:
    return dataclasses.replace(video, split=new) if video.split == old else video


def _both_sides(manifest: Manifest) -> Manifest:
    """The manifest, if train and test have every class that there is."""
    shown = _shown(manifest)
    for side in ("train", "test"):
        empty = [name for name in manifest.classes if name not in shown.get(side, ())]
        if empty:
            raise DataError(f"class {empty[0]!r} has no {side} video: give it one, or leave the class out")
    return manifest


def _check_classes(manifest: Manifest) -> None:
    """Where there are training videos, no other split has a class that they lack."""
    shown = _shown(manifest)
    for side in ("val", "test"):
        unknown = sorted(shown.get(side, set()) - shown.get("train", shown.get(side, set())))
        if unknown:
            raise DataError(
                f"{', '.join(map(repr, unknown))} in {side}, but not in train: no network can learn a class "
                "that it never sees. Mend the names, or leave these videos out"
            )


def _shown(manifest: Manifest) -> dict[str, set[str]]:
    """Split -> the classes of its videos."""
    shown: dict[str, set[str]] = {}
    for video in manifest.videos:
        shown.setdefault(video.split, set()).update(manifest.names_of(video))
    return shown
