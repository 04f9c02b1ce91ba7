"""Whatever layout the user has, the same videos come out; whatever is wrong with it is one clear line."""

import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from timelift.data.layouts import read_dataset
from timelift.data.tables import split_in_name
from timelift.records import DataError, Manifest, Video
from timelift.records.video import write_manifest

UMLAUT = "Käse und Brot"


def touch(root: Path, *names: str) -> Path:
    """Empty files: to find videos, none is opened."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows(found) -> set[tuple[str, str, str]]:
    return {(v.path, v.label, v.split) for v in found.manifest.videos}


def one_line(info) -> str:
    message = str(info.value)
    assert "\n" not in message
    return message


# folders


def test_a_folder_per_class(tmp_path):
    touch(tmp_path, "b/2.mp4", "a/10.AVI", "a/9.mkv", f"{UMLAUT}/x y.webm", "a/deeper/1.mov")
    found = read_dataset(tmp_path)
    assert found.manifest.classes == (UMLAUT, "a", "b")
    assert rows(found) == {
        ("b/2.mp4", "b", ""),
        ("a/9.mkv", "a", ""),
        ("a/10.AVI", "a", ""),
        ("a/deeper/1.mov", "a", ""),
        (f"{UMLAUT}/x y.webm", UMLAUT, ""),
    }
    assert [v.path for v in found.manifest.videos][1:3] == ["a/9.mkv", "a/10.AVI"]  # not 10 before 9
    assert all(v.status == "unscanned" for v in found.manifest.videos)
    assert all(found.manifest.full_path(v).is_file() for v in found.manifest.videos)


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_folders_train_val_and_test(tmp_path, validation):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", f"{validation}/a/2.mp4", "test/b/3.mp4", "notes/x.txt")
    found = read_dataset(tmp_path)
    assert rows(found) == {
        ("train/a/1.mp4", "a", "train"),
        ("train/b/1.mp4", "b", "train"),
        (f"{validation}/a/2.mp4", "a", "val"),
        ("test/b/3.mp4", "b", "test"),
    }
    assert found.ignored == ("notes",)


def test_a_class_may_be_called_train(tmp_path):
    touch(tmp_path, "train/1.mp4", "car/1.mp4", "train/2.mp4")
    assert read_dataset(tmp_path).manifest.classes == ("car", "train")


def test_a_folder_of_pictures_is_one_video(tmp_path):
    touch(tmp_path, "a/v1/1.jpg", "a/v1/2.jpg", "a/v1/.DS_Store", "b/v2/1.png", "b/v3.mp4")
    expected = {("a/v1", "a", ""), ("b/v2", "b", ""), ("b/v3.mp4", "b", "")}
    assert rows(read_dataset(tmp_path)) == expected


def test_what_is_no_video_is_told(tmp_path):
    touch(tmp_path, "a/1.mp4", "b/1.mp4", "a/.hidden.mp4", "a/readme.txt", "LICENSE", "b/mixed/1.jpg")
    touch(tmp_path, "b/mixed/1.txt", ".git/config")
    ignored = {"a/.hidden.mp4", "a/readme.txt", "LICENSE", "b/mixed/1.jpg", "b/mixed/1.txt", ".git"}
    assert set(read_dataset(tmp_path).ignored) == ignored


def test_links_are_followed_but_not_in_circles(tmp_path):
    store = touch(tmp_path / "store", "clips/1.mp4", "2.mp4")
    data = touch(tmp_path / "data", "a/0.mp4")
    (data / "b").symlink_to(store / "clips")
    (data / "a/link.mp4").symlink_to(store / "2.mp4")
    (data / "a/again").symlink_to(data / "a")
    (data / "a/gone.mp4").symlink_to(store / "nothing.mp4")  # the scan will say so
    found = read_dataset(data)
    assert {v.path for v in found.manifest.videos} == {"a/0.mp4", "a/link.mp4", "a/gone.mp4", "b/1.mp4"}
    assert found.ignored == ("a/again",)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a/1.mp4", "b/notes.txt"], "class folder .*b holds no video"),
        (["a/1.mp4", "b/1.jpg"], "b holds pictures, but no video"),
        (["train/a/1.mp4", "train/b/1.mp4", "test/a/.keep"], "test/a holds no video"),
        (["train/a/1.mp4", "train/b/1.mp4", "test/1.mp4"], "test has no class folders"),
        (["train/a/1.mp4", "train/b/1.mp4", "test/.keep"], "test has no class folders"),
        (["1.mp4", "2.mp4"], "holds no class folders"),
        (["a/1.mp4", "a/2.mp4"], r"one class only \(a\)"),
        ([], "holds no class folders"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, names, words):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=words) as info:
        read_dataset(tmp_path)
    one_line(info)


def test_a_missing_folder_and_a_single_video(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="is one video"):
        read_dataset(touch(tmp_path, "1.mp4") / "1.mp4")


# tables


@pytest.mark.parametrize("name", ["path", "file_name"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
@pytest.mark.parametrize("comma", [",", ";"])
def test_a_csv(tmp_path, name, mark, comma):
    touch(tmp_path, f"{UMLAUT}/x y.mp4", "b.mp4", "c.mp4", "frames/1.jpg")
    lines = [
        f"{name},label,split,group",
        f"{UMLAUT}/x y.mp4,a,Train,g1",
        "b.mp4,b,validation,g2",
        "frames,b,test,",
        "c.mp4,b,train,g4",
    ]
    found = read_dataset(write(tmp_path / "my.csv", mark + "\n".join(lines).replace(",", comma) + "\n"))
    assert found.kind == "CSV table"
    assert [(v.path, v.label, v.split, v.group) for v in found.manifest.videos] == [
        (f"{UMLAUT}/x y.mp4", "a", "train", "g1"),
        ("b.mp4", "b", "val", "g2"),
        ("frames", "b", "test", ""),
        ("c.mp4", "b", "train", "g4"),
    ]


def test_a_quoted_path_may_hold_a_comma(tmp_path):
    touch(tmp_path, "a, b.mp4", "c.mp4")
    csv = write(tmp_path / "my.csv", 'path,label\n"a, b.mp4",one\nc.mp4,two\n')
    assert rows(read_dataset(csv)) == {("a, b.mp4", "one", ""), ("c.mp4", "two", "")}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_umlaut_may_be_spelt_in_either_way(tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    touch(tmp_path, unicodedata.normalize(form, "Käse.mp4"), "b.mp4")
    text = unicodedata.normalize(other, "path,label\nKäse.mp4,a\nb.mp4,b\n")
    found = read_dataset(write(tmp_path / "my.csv", text))
    assert all(found.manifest.full_path(v).exists() for v in found.manifest.videos)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1.mp4,", "label is empty in '1.mp4,'"),
        (",a", "path is empty"),
        ("1.mp4", "as many values as the header has columns"),
        ("1.mp4,a,b,c", "as many values as the header has columns"),
        ("none.mp4,a", "there is no 'none.mp4'"),
    ],
)
def test_line_17_of_a_csv_is_named(tmp_path, line, words):
    touch(tmp_path, *(f"{i}.mp4" for i in range(20)))
    good = [f"{i}.mp4,{'ab'[i % 2]}" for i in range(15)]
    csv = write(tmp_path / "my.csv", "\n".join(["path,label", *good, line, "19.mp4,a"]))
    with pytest.raises(DataError, match=f"my.csv, line 17: .*{words}") as info:
        read_dataset(csv)
    one_line(info)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: column path and label missing"),
        ("file,class\n1.mp4,a\n", "column path and label missing; the header is 'file,class'"),
        ("path,label\n", "names no videos"),
        ("path,label\n1.mp4,a\n1.mp4,b\n", "names 1.mp4 twice"),
        ("path,label\n1.mp4,a\n2.mp4,a\n", "one class only"),
        ("path,label,split\n1.mp4,a,trian\n", "line 2: split 'trian' is none of train, val, test"),
    ],
)
def test_a_csv_that_is_no_data_set(tmp_path, text, words):
    touch(tmp_path, "1.mp4", "2.mp4")
    with pytest.raises(DataError, match=words) as info:
        read_dataset(write(tmp_path / "my.csv", text))
    one_line(info)


def test_another_encoding_is_named_with_its_line(tmp_path):
    touch(tmp_path, "1.mp4")
    (tmp_path / "my.csv").write_bytes("path,label\n1.mp4,a\nKäse.mp4,b\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"my.csv, line 3: not UTF-8"):
        read_dataset(tmp_path / "my.csv")


def test_a_list_of_paths_and_labels_splits_from_the_right(tmp_path):
    touch(tmp_path, "x y.mp4", "b/c.mp4")
    found = read_dataset(write(tmp_path / "all.txt", "\ufeffx y.mp4 1\n\nb/c.mp4\t0\n"))
    assert rows(found) == {("x y.mp4", "1", ""), ("b/c.mp4", "0", "")}
    assert found.manifest.classes == ("0", "1")


def test_lists_for_the_videos_of_a_folder(tmp_path):
    videos = touch(tmp_path / "videos", "1.mp4", "2.mp4", "3.mp4")
    train = write(tmp_path / "lists/train_list.txt", "1.mp4 a\n2.mp4 b\n")
    test = write(tmp_path / "lists/testlist.txt", "3.mp4 b\n")
    found = read_dataset(videos, lists=(train, test))
    assert rows(found) == {("1.mp4", "a", "train"), ("2.mp4", "b", "train"), ("3.mp4", "b", "test")}


@pytest.mark.parametrize("line", ["16.mp4", "my holiday.mp4"])
def test_line_17_of_a_list_is_named_with_its_text(tmp_path, line):
    touch(tmp_path, *(f"{i}.mp4" for i in range(20)), "my holiday.mp4")
    good = [f"{i}.mp4 {'ab'[i % 2]}" for i in range(16)]
    text = write(tmp_path / "all.txt", "\n".join([*good, line, "18.mp4 a"]))
    with pytest.raises(DataError, match=f"all.txt, line 17: '{line}' has no label") as info:
        read_dataset(text)
    one_line(info)


def test_the_part_is_a_word_of_the_lists_name():
    names = {"train": "train", "trainlist01": "train", "my_test": "test", "UCF-val-2": "val"}
    none = {"constraints": "", "latest": "", "intervals": "", "all": ""}
    for name, split in {**names, **none}.items():
        assert split_in_name(name) == split, name


def test_a_manifest_of_ours_comes_back(tmp_path):
    touch(tmp_path, "1.mp4", "2.mp4")
    videos = (Video("1.mp4", "a", "train", "g", "ok", frames=7), Video("2.mp4", "b", "train", "", "damaged"))
    manifest = Manifest(str(tmp_path), ("a", "b"), videos)
    write_manifest(manifest, tmp_path / "manifest.csv")
    found = read_dataset(tmp_path / "manifest.csv")
    assert (found.kind, found.manifest.videos) == ("manifest", videos)
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    assert read_dataset(write(tmp_path / "excel.csv", "\ufeff" + text)).manifest.videos == videos
    (tmp_path / "2.mp4").unlink()
    with pytest.raises(DataError, match=r"names 2.mp4, which does not exist"):
        read_dataset(tmp_path / "manifest.csv")


# groups


def test_names_like_ucfs_give_groups(tmp_path):
    touch(tmp_path, "a/v_a_g01_c01.mp4", "b/v_b_g01_c01.mp4")
    assert {v.group for v in read_dataset(tmp_path).manifest.videos} == {"a_g01", "b_g01"}
    touch(tmp_path, "b/other.mp4")
    assert {v.group for v in read_dataset(tmp_path).manifest.videos} == {""}


def test_a_pattern_gives_groups(tmp_path):
    touch(tmp_path, "a/S01_1.mp4", "b/S01_2.mp4", "b/S02_1.mp4")
    found = read_dataset(tmp_path, group_pattern=r"/(S\d+)_")
    assert [v.group for v in found.manifest.videos] == ["S01", "S01", "S02"]
    with pytest.raises(DataError, match=r"does not match a/S01_1\.mp4"):
        read_dataset(tmp_path, group_pattern="person")
    with pytest.raises(DataError, match="no regular expression"):
        read_dataset(tmp_path, group_pattern="(")


# UCF101's lists


def ucf(root: Path) -> Path:
    lists = root / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 Bow\n2 Eat\n")
    write(lists / "trainlist01.txt", "Bow/v_Bow_g02_c01.avi 1\nEat/v_Eat_g02_c01.avi 2\n")
    write(lists / "testlist01.txt", "Bow/v_Bow_g01_c01.avi\nEat/v_Eat_g01_c01.avi\n")
    return touch(root, *(f"videos/{c}/v_{c}_g0{g}_c01.mp4" for c in ("Bow", "Eat") for g in (1, 2, 3)))


@pytest.mark.parametrize("given", [".", "videos", "ucfTrainTestlist"])
def test_ucf_lists_match_by_stem(tmp_path, given):
    found = read_dataset(ucf(tmp_path) / given)
    assert found.kind == "UCF101 lists (list 01)"
    assert rows(found) == {
        (f"{c}/v_{c}_g0{g}_c01.mp4", c, split)
        for c in ("Bow", "Eat")
        for g, split in ((1, "test"), (2, "train"))
    }
    assert {v.group for v in found.manifest.videos} == {"Bow_g01", "Bow_g02", "Eat_g01", "Eat_g02"}
    assert set(found.ignored) == {"Bow/v_Bow_g03_c01.mp4", "Eat/v_Eat_g03_c01.mp4"}


def test_ucf_lists_of_another_folder(tmp_path):
    root = ucf(tmp_path / "data")
    (root / "ucfTrainTestlist").rename(tmp_path / "lists")
    found = read_dataset(root / "videos", lists=(tmp_path / "lists",))
    assert Counter(v.split for v in found.manifest.videos) == {"train": 2, "test": 2}


def test_lists_beside_a_folder_of_other_classes_are_not_its(tmp_path):
    ucf(tmp_path)
    assert read_dataset(touch(tmp_path / "mine", "a/1.mp4", "b/1.mp4")).kind == "a folder per class"


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        (
            "trainlist01.txt",
            "Eat/v_Eat_g09_c01.avi 2",
            "line 3: there is no video for 'Eat/v_Eat_g09_c01.avi 2'",
        ),
        ("trainlist01.txt", "Fly/v_Fly_g01_c01.avi 3", "line 3: .*is of no class in .*classInd.txt"),
        ("testlist01.txt", "nonsense", "line 3: 'nonsense'; wanted"),
        ("classInd.txt", "Fly", "line 3: 'Fly'; wanted `number name`"),
    ],
)
def test_a_bad_line_of_ucf_lists_is_named(tmp_path, file, line, words):
    with (ucf(tmp_path) / "ucfTrainTestlist" / file).open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    with pytest.raises(DataError, match=f"{file}, {words}") as info:
        read_dataset(tmp_path)
    one_line(info)


def test_a_missing_official_list_names_those_there(tmp_path):
    with pytest.raises(DataError, match=r"trainlist02.txt; lists found: trainlist01.txt"):
        read_dataset(ucf(tmp_path), official_list=2)


@pytest.mark.parametrize(("number", "train", "test"), [(1, 724, 294), (2, 735, 283), (3, 748, 270)])
def test_the_real_ucf_lists(shared, number, train, test):
    found = read_dataset(shared / "data/ucf101-8", official_list=number)
    assert Counter(v.split for v in found.manifest.videos) == {"train": train, "test": test}
    assert found.ignored == ()
    assert len(found.manifest.classes) == 8
    sides = {
        split: {v.group for v in found.manifest.videos if v.split == split} for split in ("train", "test")
    }
    assert not sides["train"] & sides["test"]
    assert "ApplyEyeMakeup_g08" in sides["train"] | sides["test"]


def test_a_dataset_is_read_the_same_twice(tmp_path):
    touch(tmp_path, "b/1.mp4", "a/2.mp4", "a/1.mp4")
    once, again = read_dataset(tmp_path), read_dataset(tmp_path)
    assert once == again
    assert replace(once.manifest, root="").digest() == replace(again.manifest, root="").digest()
