"""What stands on two sides of a split and must not: a group, or the same bytes; and what looks the same."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from timelift.data.looks import says_nothing
from timelift.records.errors import DataError
from timelift.records.video import LEAKS_ALLOWED, Manifest, Video

_SHOWN = 3  # leaks named in an error or a note
_SIDES = ("train", "val", "test")  # what judges is behind what learns
_BITS = 192  # of three hashes
_NEAR = 6  # bits by which the looks of copies may differ: other sizes and codecs change a few
_MOST = 50  # videos with one piece of a hash that another is compared with


@dataclass(frozen=True)
class Leak:
    """Two videos on two sides that are of one group, or of the same bytes."""

    one: Video
    other: Video
    what: str  # "group g1" or "the same bytes"
    recorded: bool  # whether the manifest says of all videos concerned that this was allowed

    def __str__(self) -> str:
        """One line."""
        one, other = self.one, self.other
        return f"{one.name} ({one.split}) and {other.name} ({other.split}) are of {self.what}"


def check_leaks(manifest: Manifest, *, allow: bool = False) -> tuple[str, ...]:
    """One line for each group, and for each file of the same bytes, that stands on two sides of the split.

    Leaks that the manifest says were allowed (`with_leaks_recorded`) are.

    Raises:
        DataError: if there is another one, naming pairs of videos; unless they are allowed.
    """
    leaks = list(_leaks(manifest))
    refused = [str(leak) for leak in leaks if not leak.recorded]
    if refused and not allow:
        more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise DataError(
            f"the test would see what training saw: {'; '.join(refused[:_SHOWN])}{more}. "
            "Split by group, or allow leaks (--allow-leaks): it is then said in every report"
        )
    return tuple(map(str, leaks))


def leak_notes(manifest: Manifest, leaks: tuple[str, ...]) -> tuple[str, ...]:
    """What every report of a split with allowed leaks says; nothing where there are none."""
    if not leaks:
        return ()
    concerned = _on_two_sides(manifest)
    test = manifest.of_split("test").videos
    seen = sum(video.name in concerned for video in test)
    more = f"; and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    return (
        f"{LEAKS_ALLOWED}: {seen} of {len(test)} test videos have videos of their group, or copies, on "
        f"another side. Accuracies are too high for new videos. {'; '.join(leaks[:_SHOWN])}{more}",
    )


def with_leaks_recorded(manifest: Manifest) -> Manifest:
    """The manifest in which every video that leaks says so (`allowed_leak`)."""
    concerned = _on_two_sides(manifest)
    return manifest.with_videos(
        replace(video, allowed_leak=concerned.get(video.name, "")) for video in manifest.videos
    )


def without_leaks(manifest: Manifest) -> Manifest:
    """The manifest without what training or validation must not see, as it stands further on, too.

    What stands in test stays in test alone, what stands in val and train stays in val.
    """
    furthest: dict[tuple[str, str], int] = {}
    for video in manifest.videos:
        for key in _keys(video):
            furthest[key] = max(furthest.get(key, 0), _place(video))
    return manifest.with_videos(
        video
        for video in manifest.videos
        if not video.split or all(furthest[key] <= _place(video) for key in _keys(video))
    )


def look_alikes(manifest: Manifest) -> tuple[str, ...]:
    """One line for each video whose first, middle and last frame look like those of one on another side.

    Looks are the same if at most 6 of 192 bits of their hashes differ: then one of 7 pieces is equal, and
    only videos with an equal piece are compared. Copies in other bytes are found so, of another size or codec
    most of them; and so may be the next clip of a still camera.
    """
    pieces: dict[tuple[int, int], list[tuple[int, Video]]] = defaultdict(list)
    found: dict[tuple[str, str], str] = {}
    for video in manifest.videos:
        if not video.split or says_nothing(video.frame_hashes):
            continue
        bits = int(video.frame_hashes.replace("-", ""), 16)
        for piece in _pieces(bits):
            for other_bits, other in pieces[piece][-_MOST:]:
                near = (bits ^ other_bits).bit_count() <= _NEAR
                if near and other.split != video.split and other.sha256 != video.sha256:
                    line = f"{other.name} ({other.split}) and {video.name} ({video.split}) look the same"
                    found[other.name, video.name] = line
            pieces[piece].append((bits, video))
    return tuple(found.values())


def look_notes(alike: tuple[str, ...]) -> tuple[str, ...]:
    """The warning of a report; nothing where nothing looks the same."""
    if not alike:
        return ()
    more = f"; and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
    return (
        f"warning: {len(alike)} pair(s) of videos on two sides look the same in their first, middle and last "
        f"frame, and may be copies: {'; '.join(alike[:_SHOWN])}{more}",
    )


def _leaks(manifest: Manifest) -> Iterator[Leak]:
    for key, of_side in _sides(manifest).items():
        thing = _thing(key)
        for one, other in combinations(of_side.values(), 2):
            yield Leak(one[0], other[0], thing, all(_says(video, thing) for video in (*one, *other)))


def _sides(manifest: Manifest) -> dict[tuple[str, str], dict[str, list[Video]]]:
    """Group or bytes -> split -> videos, of what stands on two sides; groups first."""
    sides: dict[tuple[str, str], dict[str, list[Video]]] = defaultdict(dict)
    for video in manifest.videos:
        for key in _keys(video):
            if video.split:
                sides[key].setdefault(video.split, []).append(video)
    return {
        key: of for key, of in sorted(sides.items(), key=lambda item: item[0][0] != "group") if len(of) > 1
    }


def _on_two_sides(manifest: Manifest) -> dict[str, str]:
    """Name -> what of the video stands on another side, too."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, of_side in _sides(manifest).items():
        for split, videos in of_side.items():
            others = " and ".join(sorted(set(of_side) - {split}))
            for video in videos:
                found[video.name].append(f"{_thing(key)} in {others}, too")
    return {name: "; ".join(things) for name, things in found.items()}


def _says(video: Video, thing: str) -> bool:
    return any(one.startswith(f"{thing} in ") for one in video.allowed_leak.split("; "))


def _thing(key: tuple[str, str]) -> str:
    what, value = key
    return f"group {value}" if what == "group" else "the same bytes"


def _keys(video: Video) -> list[tuple[str, str]]:
    return [(what, value) for what, value in (("group", video.group), ("bytes", video.sha256)) if value]


def _place(video: Video) -> int:
    return _SIDES.index(video.split) if video.split in _SIDES else 0


def _pieces(bits: int) -> Iterator[tuple[int, int]]:
    """7 pieces of 27 or 28 bits, each with its place."""
    width = -(-_BITS // (_NEAR + 1))
    for place in range(_NEAR + 1):
        yield place, bits >> (place * width) & ((1 << width) - 1)
