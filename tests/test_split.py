"""No group on two sides, every class on both, shares as near as groups allow, one seed one answer."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from timelift.data.layouts import read_dataset
from timelift.data.leaks import check_leaks
from timelift.data.split import balanced_subset, split, with_validation
from timelift.records import DataError, Manifest, UsageError, Video


def made(classes: int, groups: int, seed: int, shared_groups: bool = False, side: str = "train") -> Manifest:
    """Groups of 1 to 6 videos in every class; shared groups hold videos of all classes."""
    rng = np.random.default_rng(seed)
    videos = []
    for c in range(classes):
        for g in range(groups):
            name = f"g{g:02d}" if shared_groups else f"c{c}_g{g:02d}"
            for i in range(rng.integers(1, 7)):
                videos.append(Video(f"c{c}/{name}_{i}.mp4", f"c{c}", side, name, "ok"))
    names = tuple(f"c{c}" for c in range(classes))
    return Manifest("/data", names, tuple(videos[i] for i in rng.permutation(len(videos))))


def lone(counts: dict[str, int], side: str = "train") -> Manifest:
    """Videos without a group."""
    videos = tuple(Video(f"{c}/{i}.mp4", c, side, "", "ok") for c, n in counts.items() for i in range(n))
    return Manifest("/data", tuple(sorted(counts)), videos)


def shares_of(manifest: Manifest, side: str) -> dict[str, float]:
    of = Counter(v.label for v in manifest.videos if v.split == side)
    return {c: of[c] / sum(v.label == c for v in manifest.videos) for c in manifest.classes}


def sides_of_groups(manifest: Manifest) -> dict[str, set[str]]:
    sides = defaultdict(set)
    for video in manifest.videos:
        sides[video.group or video.path].add(video.split)
    return sides


CASES = [(classes, groups, shared) for classes in (2, 5) for groups in (6, 25) for shared in (False, True)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("classes", "groups", "shared_groups"), CASES)
def test_validation_is_a_fifth_of_every_class_in_whole_groups(classes, groups, shared_groups, seed):
    manifest = made(classes, groups, seed, shared_groups)
    parted, sentence = with_validation(manifest, seed=seed)
    assert sentence.startswith("selection: on ")
    assert f"seed {seed}" in sentence
    assert all(len(sides) == 1 for sides in sides_of_groups(parted).values())
    near = {25: (0.1, 0.3), 6: (0.02, 0.5)}[groups]
    for side, (low, high) in {"val": near, "train": (1 - near[1], 1 - near[0])}.items():
        assert all(low <= share <= high for share in shares_of(parted, side).values())
    assert [replace(v, split="train") for v in parted.videos] == list(manifest.videos)


def test_without_groups_the_fifth_is_exact():
    parted, _ = with_validation(lone({"a": 10, "b": 25, "c": 5}), seed=3)
    assert Counter((v.label, v.split) for v in parted.videos) == {
        ("a", "val"): 2,
        ("a", "train"): 8,
        ("b", "val"): 5,
        ("b", "train"): 20,
        ("c", "val"): 1,
        ("c", "train"): 4,
    }


def test_the_seed_decides_and_the_order_of_videos_does_not():
    manifest = made(3, 10, seed=0)
    chosen = [
        {v.path for v in with_validation(manifest, seed=s)[0].of_split("val").videos} for s in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    backwards = manifest.with_videos(reversed(manifest.videos))
    assert {v.path for v in with_validation(backwards, seed=0)[0].of_split("val").videos} == chosen[0]


def test_test_videos_stay_where_they_are():
    train, test = made(2, 8, seed=0), made(2, 3, seed=1, side="test")
    others = [replace(v, path=f"t/{v.path}", group=f"t{v.group}") for v in test.videos]
    parted, _ = with_validation(train.with_videos([*train.videos, *others]))
    assert list(parted.of_split("test").videos) == others


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (made(2, 4, seed=0), "4 group"),
        (lone({"a": 10, "b": 4}), "'b' has 4 training videos"),
    ],
)
def test_too_few_groups_or_videos_give_no_selection(manifest, words):
    same, sentence = with_validation(manifest)
    assert same == manifest
    assert sentence.startswith("no selection: ")
    assert words in sentence
    assert sentence.endswith("last epoch")


def test_a_given_validation_stays():
    manifest = made(2, 8, seed=0)
    given = manifest.with_videos([replace(manifest.videos[0], split="val"), *manifest.videos[1:]])
    same, sentence = with_validation(given)
    assert same == given
    assert "1 validation videos that were given" in sentence


def test_validation_needs_a_train_split():
    with pytest.raises(DataError, match='split "train"'):
        with_validation(made(2, 8, seed=0, side=""))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("classes", "groups", "shared_groups"), CASES)
def test_a_split_keeps_groups_whole_and_classes_everywhere(classes, groups, shared_groups, seed):
    parted = split(made(classes, groups, seed, shared_groups, side=""), seed=seed)
    assert all(len(sides) == 1 for sides in sides_of_groups(parted).values())
    check_leaks(parted)
    for side in ("train", "test"):
        assert all(share > 0 for share in shares_of(parted, side).values())
    if groups == 25:
        for side, share in {"train": 0.6, "val": 0.2, "test": 0.2}.items():
            assert all(abs(s - share) < 0.1 for s in shares_of(parted, side).values())


def test_a_split_by_shares_is_exact_without_groups():
    parted = split(lone({"a": 10, "b": 20}, side=""), shares=(0.5, 0.2, 0.3), seed=0)
    assert Counter((v.label, v.split) for v in parted.videos) == {
        ("a", "train"): 5,
        ("a", "val"): 2,
        ("a", "test"): 3,
        ("b", "train"): 10,
        ("b", "val"): 4,
        ("b", "test"): 6,
    }
    assert not split(lone({"a": 10, "b": 9}, side=""), shares=(0.8, 0.0, 0.2)).of_split("val").videos


def test_two_large_groups_stand_on_two_sides():
    videos = [Video(f"{c}/{g}{i}", c, "", f"{c}{g}") for c in "ab" for g in "xy" for i in range(9)]
    parted = split(Manifest("/data", ("a", "b"), tuple(videos)))
    assert Counter((v.label, v.split) for v in parted.videos) == {
        (c, side): 9 for c in "ab" for side in ("train", "test")
    }


def test_a_class_with_one_video_or_one_group_cannot_be_split():
    with pytest.raises(DataError, match=r"class 'b' has 1 video\(s\) in one group.*Add videos"):
        split(lone({"a": 10, "b": 1}, side=""))
    one_group = [Video(f"b/{i}", "b", "", "g") for i in range(7)]
    manifest = lone({"a": 10}, side="")
    with pytest.raises(DataError, match=r"class 'b' has 7 video\(s\) in one group"):
        split(Manifest("/data", ("a", "b"), (*manifest.videos, *one_group)))


def test_groups_that_bind_classes_together_may_leave_no_split():
    # b's only groups are a's only groups, and one of each class lies alone with the other's
    videos = [
        Video(p, c, "", g) for p, c, g in [("1", "a", "x"), ("2", "b", "x"), ("3", "a", "y"), ("4", "c", "y")]
    ]
    videos += [Video("5", "b", "", "z"), Video("6", "c", "", "z")]
    with pytest.raises(DataError, match="no choice of whole groups"):
        split(Manifest("/data", ("a", "b", "c"), tuple(videos)))


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.2), (0.2, 0.2, 0.6), (0.0, 0.5, 0.5), (1.0, 0.0, 0.0)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(UsageError, match="shares"):
        split(lone({"a": 10, "b": 10}, side=""), shares=shares)


def test_classes_of_videos_that_show_several_are_counted_each():
    """A combination that only one group shows is no class that has to stand on every side."""
    labels = ["run", "jump", "swim"] * 7 + ["run|swim"]
    videos = tuple(Video(f"{i}", label, group=f"g{i}") for i, label in enumerate(labels))
    manifest = Manifest("/data", ("jump", "run", "swim"), videos, "|")
    parted = split(manifest)
    for side in ("train", "val", "test"):
        shown = {name for video in parted.of_split(side).videos for name in parted.names_of(video)}
        assert shown == {"jump", "run", "swim"}


def test_copies_of_a_file_stay_on_one_side():
    manifest = lone({"a": 20, "b": 20}, side="")
    copied = manifest.with_videos(
        replace(v, sha256=f"{int(v.path[2:-4]) // 2}{v.label}") for v in manifest.videos
    )
    for seed in range(5):
        check_leaks(split(copied, seed=seed))
    chained = copied.with_videos(
        replace(v, group=f"g{v.label}{(int(v.path[2:-4]) + 1) // 4}") for v in copied.videos
    )
    # groups of four, each bound to the next by one copy: one chain a class
    with pytest.raises(DataError, match="in one group"):
        split(chained)


@pytest.mark.parametrize("one", ["train", "val", "test"])
@pytest.mark.parametrize("other", ["train", "val", "test"])
@pytest.mark.parametrize("key", ["group", "sha256"])
def test_leaks_are_found_between_any_two_sides(one, other, key):
    videos = [Video("1", "a", one), Video("2", "b", other), Video("3", "b", ""), Video("4", "b", "test")]
    leaky = [replace(v, **{key: "same"}) for v in videos[:3]] + videos[3:]
    manifest = Manifest("/data", ("a", "b"), tuple(leaky))
    assert check_leaks(manifest.with_videos(videos)) == ()
    if one == other:
        assert check_leaks(manifest) == ()
    else:
        with pytest.raises(DataError, match=rf"1 \({one}\) and 2 \({other}\) are of"):
            check_leaks(manifest)
        assert len(check_leaks(manifest, allow=True)) == 1


def test_many_leaks_are_one_line():
    videos = [Video(f"{s}{i}", "a", s, f"g{i}") for i in range(9) for s in ("train", "test")]
    with pytest.raises(DataError, match="; and 6 more") as info:
        check_leaks(Manifest("/data", ("a",), tuple(videos)))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("seed", range(3))
def test_subsets_are_balanced_nested_and_spread_over_groups(seed):
    manifest = made(3, 25, seed, side="train")
    manifest = manifest.with_videos([*manifest.videos, Video("v", "c0", "val"), Video("t", "c1", "test")])
    inner: set[str] = set()
    for count in (1, 10, 20, 50):
        subset = balanced_subset(manifest, count, seed)
        train = subset.of_split("train").videos
        assert Counter(v.label for v in train) == {c: count for c in manifest.classes}
        assert inner <= {v.path for v in train}
        inner = {v.path for v in train}
        groups = Counter(v.group for v in train)
        if count <= 25:
            assert set(groups.values()) == {1}  # 25 groups a class: each gives one before any gives two
        assert [v.path for v in subset.videos if v.split != "train"] == ["v", "t"]
        assert [v for v in manifest.videos if v in subset.videos] == list(subset.videos)
    other = {v.path for v in balanced_subset(manifest, 50, seed + 100).of_split("train").videos}
    assert other != inner


def test_a_class_more_changes_no_other_class():
    three = made(3, 10, seed=0)
    two = Manifest("/data", three.classes[:2], tuple(v for v in three.videos if v.label != "c2"))
    of_three = {v.path for v in balanced_subset(three, 5, 0).videos if v.label != "c2"}
    assert of_three == {v.path for v in balanced_subset(two, 5, 0).videos}


def test_a_subset_larger_than_a_class_is_refused():
    with pytest.raises(DataError, match="class 'b' has 7 training videos, 8 were wanted"):
        balanced_subset(lone({"a": 9, "b": 7}), 8, 0)
    with pytest.raises(ValueError, match="at least 1"):
        balanced_subset(lone({"a": 9, "b": 7}), 0, 0)


def test_the_real_ucf_lists_leak_nothing(shared):
    manifest = read_dataset(shared / "data/ucf101-8").manifest
    parted, sentence = with_validation(manifest, seed=0)
    check_leaks(parted)
    of_train = len(parted.of_split("val").videos) / len(manifest.of_split("train").videos)
    assert abs(of_train - 0.2) < 0.03
    assert "whole groups" in sentence
