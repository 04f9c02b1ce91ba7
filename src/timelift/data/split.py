"""Which videos train and which test: whole groups, copies of a file together, class by class, by a seed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np

from timelift.records.errors import DataError, UsageError
from timelift.records.video import Manifest, Video

_LEAST = 5  # groups, and videos, of every class that a validation split needs
_DRAWS = 10  # orders of the groups, of which the most even choice is taken

Sizes = dict[str, Counter[str]]
NamesOf = Callable[[Video], tuple[str, ...]]  # the classes that a video shows


def with_validation(manifest: Manifest, *, share: float = 0.2, seed: int = 0) -> tuple[Manifest, str]:
    """The manifest with a share of train as "val", and one sentence on how the epoch is selected.

    Whole groups go to val, as near to the share of each class as groups allow. A manifest that has a val
    keeps it. With fewer than 5 groups or 5 videos in a class there is none, and the sentence says so.

    Raises:
        DataError: if no video is in train.
        ValueError: if share is not between 0 and 1/2.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share is above 0 and at most 1/2, got {share}")
    train = manifest.of_split("train").videos
    given = len(manifest.of_split("val").videos)
    if not train:
        raise DataError('no video has the split "train"; run `timelift split` first')
    if given:
        return manifest, f"selection: on the {given} validation videos that were given"
    scarce = _scarce(train, manifest.names_of)
    if scarce:
        return manifest, f"no selection: {scarce}, last epoch"
    units = _units(train)
    held = _held_out(train, manifest.names_of, share, seed)
    if held is None:
        return manifest, "no selection: no choice of groups leaves every class on both sides, last epoch"
    sentence = (
        f"selection: on {len(held)} of {len(train)} training videos, "
        f"{len({units[path] for path in held})} whole groups, seed {seed}"
    )
    return _moved(manifest, held, "val"), sentence


def split(
    manifest: Manifest, *, shares: tuple[float, float, float] = (0.6, 0.2, 0.2), seed: int = 0
) -> Manifest:
    """All videos put into train, val and test by these shares, whole groups, as near as groups allow.

    There is no val where a class is too small for one (see `with_validation`).

    Raises:
        DataError: for a class that has one group only, or that no choice of groups puts on both sides.
        UsageError: if the shares do not add up to 1, or test's is above 1/2.
    """
    train_share, val_share, test_share = shares
    if abs(sum(shares) - 1) > 1e-6 or train_share <= 0 or not 0 < test_share <= 0.5 or val_share < 0:
        told = ", ".join(f"{part:g}" for part in shares)
        raise UsageError(f"shares of train, val and test are {told}: they add up to 1, test is at most 1/2")
    for label, groups in sorted(_units_of_classes(manifest.videos, manifest.names_of).items()):
        if len(groups) < 2:
            count = sum(groups.values())
            raise DataError(
                f"class {label!r} has {count} video(s) in one group: it cannot be in train and in test. "
                "Add videos of it, or leave the class out"
            )
    held = _held_out(manifest.videos, manifest.names_of, test_share, seed)
    if held is None:
        raise DataError(
            "no choice of whole groups puts every class into train and into test; "
            "give a split of your own (column split), or smaller groups"
        )
    parted = _moved(_moved(manifest, {video.name for video in manifest.videos}, "train"), held, "test")
    if val_share == 0:
        return parted
    return with_validation(parted, share=min(0.5, val_share / (train_share + val_share)), seed=seed)[0]


def split_by_clip(
    manifest: Manifest, *, shares: tuple[float, float, float] = (0.6, 0.2, 0.2), seed: int = 0
) -> Manifest:
    """As `split`, but every video for itself, whatever its group and its bytes: what leaks then is for
    `check_leaks` to say.

    Raises:
        DataError, UsageError: as `split`.
    """
    alone = manifest.with_videos(replace(video, group="", sha256="") for video in manifest.videos)
    sides = {video.name: video.split for video in split(alone, shares=shares, seed=seed).videos}
    return manifest.with_videos(replace(video, split=sides[video.name]) for video in manifest.videos)


def balanced_subset(manifest: Manifest, videos_per_class: int, seed: int) -> Manifest:
    """The same val and test with so many training videos of each class, spread over its groups.

    For one seed the subset of 10 lies within that of 20. Groups take turns in a drawn order.

    Raises:
        DataError: for a class with fewer training videos.
        ValueError: if videos_per_class is below 1.
    """
    if videos_per_class < 1:
        raise ValueError(f"videos_per_class is at least 1, got {videos_per_class}")
    by_class = defaultdict(list)
    for video in manifest.of_split("train").videos:
        by_class[video.label].append(video)
    kept: set[str] = set()
    for label in manifest.classes:
        there = by_class[label]
        if len(there) < videos_per_class:
            raise DataError(
                f"class {label!r} has {len(there)} training videos, {videos_per_class} were wanted; "
                "take fewer a class"
            )
        kept |= {video.name for video in _taking_turns(there, label, seed)[:videos_per_class]}
    return manifest.with_videos(v for v in manifest.videos if v.split != "train" or v.name in kept)


def fewer_of(manifest: Manifest, side: str, videos: int) -> Manifest:
    """The same manifest with so many videos of one split, the classes as even as they go, groups in turn.

    Raises:
        DataError: if a class has fewer than its share.
    """
    kept: set[str] = set()
    for place, label in enumerate(manifest.classes):
        there = [video for video in manifest.of_split(side).videos if video.label == label]
        share = videos // len(manifest.classes) + (place < videos % len(manifest.classes))
        if len(there) < share:
            raise DataError(
                f"class {label!r} has {len(there)} {side} videos, {share} were wanted of it: take fewer"
            )
        kept |= {video.name for video in _taking_turns(there, label, 0)[:share]}
    return manifest.with_videos(v for v in manifest.videos if v.split != side or v.name in kept)


def _group(video: Video) -> str:
    """The video's group; without one it stands alone, under a name that no group has."""
    return video.group or f"\0{video.name}"


def _units(videos: Sequence[Video]) -> dict[str, str]:
    """What must stay on one side, as a name for each path: videos of one group, or of the same bytes."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        way = []
        while above.get(name, name) != name:
            way.append(name)
            name = above[name]
        above.update(dict.fromkeys(way, name))  # the next one asks no further than this
        return name

    names = {video.name: _group(video) for video in videos}
    first: dict[str, str] = {}  # bytes -> the group that had them first
    for video in videos:
        if video.sha256:
            above[top(names[video.name])] = top(first.setdefault(video.sha256, names[video.name]))
    return {path: top(name) for path, name in names.items()}


def _units_of_classes(videos: Sequence[Video], names_of: NamesOf) -> dict[str, Counter[str]]:
    """Videos of each unit, for each class."""
    units = _units(videos)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for video in videos:
        for label in names_of(video):
            counts[label][units[video.name]] += 1
    return counts


def _scarce(videos: tuple[Video, ...], names_of: NamesOf) -> str:
    """In words, the first class that is too small for a validation split; every group has a video."""
    for label, groups in sorted(_units_of_classes(videos, names_of).items()):
        if len(groups) < _LEAST:
            return (
                f"class {label!r} has {sum(groups.values())} training videos in {len(groups)} group(s), "
                f"fewer than {_LEAST}"
            )
    return ""


def _held_out(videos: Sequence[Video], names_of: NamesOf, share: float, seed: int) -> set[str] | None:
    """Paths of whole units, near to the share of every class; None if a class would miss on a side.

    The best of a few drawn orders, so that units of different sizes and mixed classes come out even.
    """
    units = _units(videos)
    totals = Counter(label for video in videos for label in names_of(video))
    sizes: Sizes = defaultdict(Counter)  # unit -> class -> videos
    for video in videos:
        sizes[units[video.name]].update(names_of(video))
    names = sorted(sizes)
    rng = np.random.default_rng(seed)
    orders = [[names[i] for i in rng.permutation(len(names))] for _ in range(_DRAWS)]
    drawn = [taken for order in orders if (taken := _taken(order, sizes, totals, share)) is not None]
    if not drawn:
        return None
    best = min(drawn, key=lambda taken: _deviation(_summed(taken, sizes), totals, share, totals))
    return {video.name for video in videos if units[video.name] in best}


def _taken(order: list[str], sizes: Sizes, totals: Counter[str], share: float) -> set[str] | None:
    """The units that bring the classes nearer to their shares, one after another."""
    held: Counter[str] = Counter()
    taken: set[str] = set()
    for name in order:
        grown = Counter({label: held[label] + count for label, count in sizes[name].items()})
        if _deviation(grown, totals, share, grown) < _deviation(held, totals, share, grown):
            taken.add(name)
            held.update(sizes[name])
    for label in sorted(totals):
        if held[label] == 0:  # every unit is too large: the smallest that leaves something to train on
            fitting = [u for u in order if label in sizes[u] and _leaves_some(sizes[u], held, totals)]
            if not fitting:
                return None
            smallest = min(fitting, key=lambda unit: sizes[unit][label])
            taken.add(smallest)
            held.update(sizes[smallest])
    return None if any(held[label] == totals[label] for label in totals) else taken


def _deviation(held: Counter[str], totals: Counter[str], share: float, labels: Iterable[str]) -> float:
    return sum((held[label] / totals[label] - share) ** 2 for label in labels)


def _summed(units: Iterable[str], sizes: Sizes) -> Counter[str]:
    held: Counter[str] = Counter()
    for unit in units:
        held.update(sizes[unit])
    return held


def _leaves_some(group: Counter[str], held: Counter[str], totals: Counter[str]) -> bool:
    return all(held[label] + count < totals[label] for label, count in group.items())


def _moved(manifest: Manifest, paths: set[str], split: str) -> Manifest:
    return manifest.with_videos(
        replace(video, split=split) if video.name in paths else video for video in manifest.videos
    )


def _taking_turns(videos: list[Video], label: str, seed: int) -> list[Video]:
    """One video of every group, then a second one of every group ..., groups and videos in a drawn order."""
    rng = np.random.default_rng([seed, crc32(label.encode())])  # a class more or less changes no other
    groups = defaultdict(list)
    for video in sorted(videos, key=lambda video: video.name):
        groups[_group(video)].append(video)
    names = sorted(groups)
    ranked = []
    for turn, position in enumerate(rng.permutation(len(names))):
        members = groups[names[position]]
        ranked += [(round_, turn, members[i]) for round_, i in enumerate(rng.permutation(len(members)))]
    return [video for _, _, video in sorted(ranked, key=lambda entry: entry[:2])]
