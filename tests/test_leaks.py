"""What stands on two sides is found, refused, recorded or left out; what only looks the same is a warning."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from timelift.data.examine import examine
from timelift.data.leaks import (
    check_leaks,
    leak_notes,
    look_alikes,
    look_notes,
    with_leaks_recorded,
    without_leaks,
)
from timelift.data.looks import Looks, difference_hash, says_nothing
from timelift.data.split import split_by_clip
from timelift.records import DataError, Manifest, Video
from timelift.records.video import read_manifest, write_manifest

SIDES = ("train", "val", "test")


def drawn(seed: int, videos: int = 30) -> Manifest:
    """Groups and copies at random on three sides, some without either."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(videos):
        group, copy = rng.integers(0, 12, 2)
        made.append(
            Video(
                path=f"{index}.mp4",
                label="ab"[index % 2],
                split=("", *SIDES)[rng.integers(4)],
                group=f"g{group}" if group < 9 else "",
                sha256=f"{copy:064}" if copy < 6 else f"{100 + index:064}",
            )
        )
    return Manifest("/data", ("a", "b"), tuple(made))


def leaky_pairs(manifest: Manifest) -> list[tuple[Video, Video]]:
    """The oracle: every two videos compared."""
    return [
        (one, other)
        for one, other in combinations(manifest.videos, 2)
        if one.split
        and other.split
        and one.split != other.split
        and ((one.group and one.group == other.group) or one.sha256 == other.sha256)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_leak_is_recorded_on_every_video_that_it_concerns(seed, tmp_path):
    manifest = drawn(seed)
    concerned = {video.name for pair in leaky_pairs(manifest) for video in pair}
    assert concerned
    with pytest.raises(DataError, match="--allow-leaks"):
        check_leaks(manifest)
    recorded = with_leaks_recorded(manifest)
    assert {v.name for v in recorded.videos if v.allowed_leak} == concerned
    assert check_leaks(recorded) == check_leaks(manifest, allow=True) != ()
    (tmp_path / "here").mkdir()
    write_manifest(replace(recorded, root=str(tmp_path)), tmp_path / "here/manifest.csv")
    again = read_manifest(tmp_path / "here/manifest.csv")
    assert len(check_leaks(again)) == len(check_leaks(recorded))


@pytest.mark.parametrize("seed", range(6))
def test_without_leaks_the_test_is_whole_and_nothing_leaks(seed):
    manifest = drawn(seed)
    kept = without_leaks(manifest)
    assert check_leaks(kept) == ()
    assert kept.of_split("test") == manifest.of_split("test")
    assert kept.of_split("") == manifest.of_split("")
    gone = [video for video in manifest.videos if video not in kept.videos]
    for video in gone:  # none is left out without need
        others = [o if v is video else v for v, o in leaky_pairs(manifest) if video in (v, o)]
        assert any(SIDES.index(other.split) > SIDES.index(video.split) for other in others)


def test_a_leak_that_was_not_recorded_is_still_refused():
    one, other = Video("1", "a", "train", "g"), Video("2", "a", "test", "g")
    manifest = with_leaks_recorded(Manifest("/data", ("a", "b"), (one, other)))
    new = (Video("3", "b", "train", "h"), Video("4", "b", "test", "h"))
    with pytest.raises(DataError, match=r"3 \(train\) and 4 \(test\)"):
        check_leaks(manifest.with_videos((*manifest.videos, *new)))


def test_the_note_counts_the_test_videos_that_training_has_seen():
    videos = [Video(f"t{i}", "a", "test", f"g{i}") for i in range(4)]
    videos += [Video("1", "a", "train", "g0"), Video("2", "a", "train", "g1"), Video("3", "a", "train", "h")]
    manifest = Manifest("/data", ("a",), tuple(videos))
    (note,) = leak_notes(manifest, check_leaks(manifest, allow=True))
    assert note.startswith("leaks were allowed: 2 of 4 test videos")
    assert leak_notes(manifest, ()) == ()


def test_a_split_by_clip_parts_groups_and_copies():
    videos = [
        Video(f"{c}{g}{i}", c, "", f"{c}{g}", sha256="s") for c in "ab" for g in range(9) for i in "xyz"
    ]
    manifest = Manifest("/data", ("a", "b"), tuple(videos))
    parted = split_by_clip(manifest, shares=(0.5, 0.2, 0.3), seed=0)
    assert [replace(v, split="") for v in parted.videos] == videos
    assert {s: len(parted.of_split(s).videos) for s in SIDES} == {"train": 28, "val": 10, "test": 16}
    with pytest.raises(DataError, match="would see"):
        check_leaks(parted)


# looks


def test_the_hash_says_where_brightness_rises():
    rng = np.random.default_rng(0)
    for _ in range(5):
        pixels = rng.integers(0, 256, (8, 9), dtype=np.uint8)
        bits = "".join(str(int(pixels[y, x + 1] > pixels[y, x])) for y in range(8) for x in range(8))
        assert difference_hash(pixels) == int(bits, 2)


@pytest.mark.parametrize("frames", [1, 2, 3, 64, 65, 129, 1000])
def test_first_middle_and_last_are_hashed(frames):
    def thumbnail(index: int) -> np.ndarray:
        bits = np.array([index >> k & 1 for k in range(64)], np.uint8).reshape(8, 8)
        return np.cumsum(np.c_[np.zeros(8, np.uint8), bits], axis=1).astype(np.uint8)

    looks = Looks()
    for index in range(frames):
        looks.add(lambda index=index: thumbnail(index))
    words = looks.words().split("-")
    assert words[0] == f"{difference_hash(thumbnail(0)):016x}"
    assert words[2] == f"{difference_hash(thumbnail(frames - 1)):016x}"
    near = range(frames // 2 - frames // 32, frames // 2 + 1)
    assert words[1] in {f"{difference_hash(thumbnail(index)):016x}" for index in near}


def test_nothing_seen_and_one_colour_say_nothing():
    assert Looks().words() == ""
    flat = Looks()
    flat.add(lambda: np.full((8, 9), 7, np.uint8))
    assert says_nothing(flat.words())
    assert says_nothing("")
    assert not says_nothing("0" * 15 + "1")


def flipped(words: str, bits: int, rng: np.random.Generator) -> str:
    number = int(words.replace("-", ""), 16)
    for place in rng.choice(192, bits, replace=False):
        number ^= 1 << int(place)
    text = f"{number:048x}"
    return "-".join(text[i : i + 16] for i in (0, 16, 32))


@pytest.mark.parametrize("bits", range(10))
def test_looks_are_the_same_up_to_six_bits_and_only_across_sides(bits):
    rng = np.random.default_rng(bits)
    found = []
    for index in range(40):
        words = "-".join(rng.bytes(8).hex() for _ in range(3))
        one = Video(f"1_{index}", "a", "train", sha256="x", frame_hashes=words)
        two = Video(f"2_{index}", "a", "test", sha256="y", frame_hashes=flipped(words, bits, rng))
        found += [one, two]
    manifest = Manifest("/data", ("a",), tuple(found))
    assert len(look_alikes(manifest)) == (40 if bits <= 6 else 0)
    assert look_alikes(manifest.with_videos(replace(v, split="train") for v in found)) == ()
    assert (
        look_alikes(manifest.with_videos(replace(v, sha256="z") for v in found)) == ()
    )  # a leak, not a look
    assert bool(look_notes(look_alikes(manifest))) == (bits <= 6)


def test_a_real_video_in_another_codec_and_size_looks_the_same(shared):
    names = ["Archery/v_Archery_g01_c01", "BaseballPitch/v_BaseballPitch_g01_c01"]
    videos = []
    for name in names:
        for side, folder, suffix in (("train", "ucf101-original", "avi"), ("test", "ucf101-8", "mp4")):
            path = shared / "data" / folder / "videos" / f"{name}.{suffix}"
            videos.append(
                Video(str(path), "a", side, sha256=path.name, frame_hashes=examine(path).frame_hashes)
            )
    lines = look_alikes(Manifest("/", ("a",), tuple(videos)))
    pairs = {(videos[i].name, videos[i + 1].name) for i in (0, 2)}
    assert len(lines) == sum(any(a in line and b in line for a, b in pairs) for line in lines) >= 1


def test_what_leaks_later_is_refused_though_its_group_was_allowed():
    """Another video of an allowed group, and copies of which each was allowed for another reason."""
    a, b = Video("a", "x", "train", "g", sha256="1"), Video("b", "x", "test", "g", sha256="2")
    recorded = with_leaks_recorded(Manifest("/", ("x",), (a, b)))
    assert check_leaks(recorded)
    later = Video("c", "x", "test", "g", sha256="3")
    with pytest.raises(DataError, match="group g"):
        check_leaks(recorded.with_videos([*recorded.videos, later]))
    copies = recorded.with_videos(replace(video, sha256="1") for video in recorded.videos)
    with pytest.raises(DataError, match="same bytes"):
        check_leaks(copies)
    assert len(check_leaks(with_leaks_recorded(copies))) == 2


def test_a_group_whose_name_begins_like_an_allowed_one_is_another():
    pairs = [
        Video(f"{group}{side}", "x", side, group) for group in ("g1", "g10") for side in ("train", "test")
    ]
    recorded = with_leaks_recorded(Manifest("/", ("x",), tuple(pairs[2:])))
    with pytest.raises(DataError, match=r"group g1\."):
        check_leaks(recorded.with_videos([*pairs[:2], *recorded.videos]))
