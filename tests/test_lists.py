"""HMDB51's split files and Kinetics' CSV as they are published; classes that only a test list has."""

import dataclasses
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from timelift.data.hmdb_lists import film_of, read_hmdb_lists
from timelift.data.layouts import read_dataset
from timelift.data.leaks import check_leaks
from timelift.records import DataError, Manifest
from timelift.records.video import Video
from timelift.runs.data import prepared


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def rows(found) -> set[tuple[str, str, str]]:
    return {(v.path, v.label, v.split) for v in found.manifest.videos}


# HMDB51


def hmdb(root: Path) -> Path:
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for name in ("brush_hair", "wave"):
        lines = [f"Film{i}_{name}_u_nm_np1_ba_goo_{i}.avi {i % 3} \n" for i in range(6)]
        (lists / f"{name}_test_split1.txt").write_text("".join(lines))
        touch(root, *(f"videos/{name}/Film{i}_{name}_u_nm_np1_ba_goo_{i}.mp4" for i in range(6)))
    return root


@pytest.mark.parametrize("given", [".", "videos", "testTrainMulti_7030_splits"])
def test_hmdb_lists_say_train_test_or_neither(tmp_path, given):
    found = read_dataset(hmdb(tmp_path) / given)
    assert found.kind == "HMDB51 lists (list 1)"
    expected = {
        (f"{name}/Film{i}_{name}_u_nm_np1_ba_goo_{i}.mp4", name, {1: "train", 2: "test"}[i % 3])
        for name in ("brush_hair", "wave")
        for i in range(6)
        if i % 3
    }
    assert {(path.removeprefix("videos/"), *rest) for path, *rest in rows(found)} == expected
    assert len([name for name in found.ignored if "Film0" in name or "Film3" in name]) == 4
    assert {v.group for v in found.manifest.videos if v.label == "wave"} == {
        f"wave/Film{i}" for i in (1, 2, 4, 5)
    }


def test_hmdb_lists_of_another_folder(tmp_path):
    root = hmdb(tmp_path / "data")
    lists = root / "testTrainMulti_7030_splits"
    lists.rename(tmp_path / "lists")
    found = read_dataset(root / "videos", lists=(tmp_path / "lists",))
    assert Counter(v.split for v in found.manifest.videos) == {"train": 4, "test": 4}
    with pytest.raises(DataError, match=r"there is no official list .*_test_split2\.txt"):
        read_dataset(root / "videos", lists=(tmp_path / "lists",), official_list=2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Gone_wave_u_nm_np1_ba_goo_0.avi 1", "line 7: there is no video wave/Gone"),
        ("Film1_wave_u_nm_np1_ba_goo_1.avi 3", "line 7: .*; wanted `name.avi` and 0, 1 or 2"),
        ("nonsense", "line 7: 'nonsense'; wanted"),
    ],
)
def test_a_bad_line_of_hmdb_lists_is_named(tmp_path, line, words):
    file = hmdb(tmp_path) / "testTrainMulti_7030_splits/wave_test_split1.txt"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=f"wave_test_split1.txt, {words}"):
        read_dataset(tmp_path)


def test_an_entry_that_hmdb_does_not_use_may_be_missing(tmp_path):
    (hmdb(tmp_path) / "videos/wave/Film0_wave_u_nm_np1_ba_goo_0.mp4").unlink()
    assert len(read_dataset(tmp_path).manifest.videos) == 8


def test_the_film_is_what_stands_before_the_class_and_the_tags():
    names = {
        ("April_09_brush_hair_u_nm_np1_ba_goo_0", "brush_hair"): "April_09",
        ("prelinger_LetsBeGo1953_wave_u_cm_np10_ba_med_2", "wave"): "prelinger_LetsBeGo1953",
        ("my own clip", "wave"): "my own clip",
    }
    for (stem, label), film in names.items():
        assert film_of(stem, label) == film


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_real_hmdb_lists_leak_nothing(shared, tmp_path, number):
    lists = shared / "data/splits/hmdb51_splits"
    for file in lists.glob(f"*_test_split{number}.txt"):
        label = file.name.removesuffix(f"_test_split{number}.txt")
        (tmp_path / label).mkdir()
        for line in file.read_text().splitlines():
            if line.strip():
                (tmp_path / label / line.rsplit(maxsplit=1)[0].strip()).touch()
    videos, left = read_hmdb_lists(lists, tmp_path, number)
    assert Counter(v.split for v in videos) == {"train": 3570, "test": 1530}
    assert len(left) == 1666
    assert len({v.label for v in videos}) == 51
    found = read_dataset(tmp_path, lists=(lists,), official_list=number).manifest
    assert check_leaks(found) == ()  # the class's film is the group that the lists part by
    by_film = found.with_videos(
        Video(v.path, v.label, v.split, v.group.split("/", 1)[1]) for v in found.videos
    )
    with pytest.raises(
        DataError, match="more"
    ):  # the film alone is not: another class may be on another side
        check_leaks(by_film)


# Kinetics

HEADER = "label,youtube_id,time_start,time_end,split"


def kinetics(root: Path, *lines: str, header: str = HEADER) -> Path:
    (root / "kinetics.csv").write_text("\n".join([header, *lines]) + "\n")
    return root / "kinetics.csv"


def test_kinetics_entries_are_clips_that_were_cut_or_parts_of_long_videos(tmp_path):
    touch(tmp_path, "train/air_drumming/-0abc_D1_000010_000020.mp4", "long/xyz.webm", "other.mp4")
    table = kinetics(
        tmp_path,
        "air drumming,-0abc_D1,10,20,train",
        '"swinging, on something",xyz,3,13,train',
        "air drumming,xyz,20.5,30.5,validate",
        "air drumming,gone,0,10,train",
    )
    found = read_dataset(table)
    assert found.kind == "Kinetics' CSV"
    assert [(v.name, v.label, v.split, v.group) for v in found.manifest.videos] == [
        ("train/air_drumming/-0abc_D1_000010_000020.mp4", "air drumming", "train", "-0abc_D1"),
        ("long/xyz.webm#t=3,13", "swinging, on something", "train", "xyz"),
        ("long/xyz.webm#t=20.5,30.5", "air drumming", "val", "xyz"),
        ("gone_000000_000010.mp4", "air drumming", "train", "gone"),  # the scan says that it is not there
    ]
    assert found.ignored == ("other.mp4",)
    with pytest.raises(DataError, match="group xyz"):
        check_leaks(found.manifest)


def test_a_clip_of_two_classes_is_found_in_the_folder_of_its_own(tmp_path):
    touch(tmp_path, "b_c/i_000000_000010.mp4", "a/i_000000_000010.mp4")
    found = read_dataset(kinetics(tmp_path, "b c,i,0,10,train", "a,i,0,10,train"))
    assert rows(found) == {
        ("b_c/i_000000_000010.mp4", "b c", "train"),
        ("a/i_000000_000010.mp4", "a", "train"),
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,,0,10,train", "line 3: youtube_id is empty"),
        (",i,0,10,train", "line 3: label is empty"),
        ("a,i,zero,10,train", "line 3: time_start 'zero'; seconds are wanted"),
        ("a,i,0,10,trian", "line 3: split 'trian' is none of"),
        ("a,i,0,10", "line 3: as many values"),
    ],
)
def test_a_bad_line_of_kinetics_is_named(tmp_path, line, words):
    with pytest.raises(DataError, match=f"kinetics.csv, {words}"):
        read_dataset(kinetics(tmp_path, "b,j,0,10,train", line))


def test_a_test_list_of_kinetics_without_labels_says_so(tmp_path):
    table = kinetics(tmp_path, "i,0,10,test", header="youtube_id,time_start,time_end,split")
    with pytest.raises(DataError, match="line 1: column label missing"):
        read_dataset(table)


# groups by column and by pattern


def test_a_group_may_be_any_column(tmp_path):
    touch(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    table = tmp_path / "my.csv"
    table.write_text("path,label,person,group\n1.mp4,a,Ann,x\n2.mp4,b,Ann,y\n3.mp4,b,Bo,y\n")
    groups = defaultdict(list)
    for column in (None, "person"):
        groups[column] = [v.group for v in read_dataset(table, group_column=column).manifest.videos]
    assert dict(groups) == {None: ["x", "y", "y"], "person": ["Ann", "Ann", "Bo"]}
    with pytest.raises(DataError, match="line 1: column place missing"):
        read_dataset(table, group_column="place")
    with pytest.raises(DataError, match="needs a CSV"):
        read_dataset(tmp_path, group_column="person")


def test_a_pattern_sees_the_path_and_joins_what_its_parentheses_match(tmp_path):
    touch(tmp_path, "a/Ann/day1_1.mp4", "a/Ann/day2_1.mp4", "b/Bo/day1_1.mp4")
    found = read_dataset(tmp_path, group_pattern=r"/(\w+)/day(\d)")
    assert [v.group for v in found.manifest.videos] == ["Ann_1", "Ann_2", "Bo_1"]


# unknown classes


@pytest.mark.parametrize("split", ["val", "test"])
def test_classes_that_training_lacks_are_named(tmp_path, split):
    touch(tmp_path, *(f"{i}.mp4" for i in range(5)))
    train, other = tmp_path / "train.txt", tmp_path / f"{split}.txt"
    train.write_text("0.mp4 run\n1.mp4 walk\n")
    other.write_text("2.mp4 run\n3.mp4 Walk\n4.mp4 fly\n")
    manifest = read_dataset(tmp_path, lists=(train, other)).manifest
    known = [dataclasses.replace(v, status="ok", frames=9) for v in manifest.videos]
    with pytest.raises(DataError, match=rf"'Walk', 'fly' in {split}, but not in train"):
        prepared(manifest.with_videos(known), policy="error", select_by_validation=True)


def test_videos_in_no_split_are_said(tmp_path):
    sides = ["train"] * 4 + ["test"] * 2 + [""] * 3
    videos = [Video(f"{i}", "ab"[i % 2], side, status="ok", frames=9) for i, side in enumerate(sides)]
    ready = prepared(Manifest("/", ("a", "b"), tuple(videos)), policy="error", select_by_validation=False)
    assert "3 of 9 videos take no part: they are in no split" in ready.notes
