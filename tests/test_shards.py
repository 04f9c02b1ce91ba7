"""A folder of shards is the same data set as the videos that it was made from."""

import dataclasses
import io
import json
import tarfile

import numpy as np
import pytest
import torch

from timelift.data import shards
from timelift.data.dataset import TrainClips
from timelift.data.decode import decode_frames
from timelift.data.frames import DecodedOnDemand
from timelift.data.layouts import read_dataset
from timelift.data.scan import scan, sha256_of
from timelift.data.shards import plan_shards, shards_in, write_shards
from timelift.records import ClipFormat, DataError, Manifest, Recipe, UsageError
from timelift.training.loading import load
from timelift.training.order import epoch_batches
from videos_tiny import write_videos


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    return scan(
        read_dataset(write_videos(tmp_path_factory.mktemp("videos"), per_class=3)).manifest, workers=1
    )


SMALL = 12_000  # bytes: a few videos a shard


def by_bytes(manifest: Manifest) -> dict[str, tuple]:
    return {v.sha256: (v.label, v.split, v.group, v.frames, v.width, v.status) for v in manifest.videos}


def test_shards_hold_the_same_videos_and_are_read_by_their_folder(manifest, tmp_path):
    written = write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    assert len(shards_in(tmp_path)) > 1
    found = read_dataset(tmp_path).manifest
    assert found.videos == written.videos
    assert found.classes == manifest.classes
    assert by_bytes(found) == by_bytes(manifest)
    sources = {video.sha256: manifest.full_path(video) for video in manifest.videos}
    for video in found.videos:
        assert sha256_of(found.full_path(video)) == video.sha256
        np.testing.assert_array_equal(
            decode_frames(found.full_path(video), [3, 0], short_side=17),
            decode_frames(sources[video.sha256], [3, 0], short_side=17),
        )
    assert by_bytes(scan(found, workers=1)) == by_bytes(manifest)


def test_a_sample_is_as_webdataset_reads_it(manifest, tmp_path):
    """Members of one sample follow each other and share what stands before the first dot."""
    write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    keys = []
    for path in shards_in(tmp_path):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            for video, cls, row in zip(names[::3], names[1::3], names[2::3], strict=True):
                key = video.split(".", 1)[0]
                assert (cls, row) == (f"{key}.cls", f"{key}.json")
                told = json.load(tar.extractfile(row))
                assert manifest.classes[int(tar.extractfile(cls).read())] == told["label"]
                keys.append(key)
    assert keys == [f"{number:08d}" for number in range(len(manifest.videos))]


def test_the_shuffle_follows_from_the_seed_alone(manifest):
    def order(seed):
        return [sample.videos[0].path for shard in plan_shards(manifest, SMALL, seed) for sample in shard]

    assert order(1) == order(1)
    assert sorted(order(1)) == sorted(order(2)) == sorted(video.path for video in manifest.videos)
    assert order(1) != order(2)


def test_writing_goes_on_where_it_stopped_and_ends_with_the_same_bytes(manifest, tmp_path, monkeypatch):
    write_shards(manifest, tmp_path / "whole", shard_bytes=SMALL, workers=1)
    kept, calls = shards._write, []

    def stopped(job):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(job)
        kept(job)

    monkeypatch.setattr(shards, "_write", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_shards(manifest, tmp_path / "parts", shard_bytes=SMALL, workers=1)
    monkeypatch.setattr(shards, "_write", kept)
    assert not (tmp_path / "parts" / "manifest.csv").exists()
    (first,) = shards_in(tmp_path / "parts")
    before = first.stat().st_mtime_ns
    write_shards(manifest, tmp_path / "parts", shard_bytes=SMALL, workers=1)
    assert first.stat().st_mtime_ns == before
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "parts").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_shard_that_was_cut_off_is_named_and_written_again(manifest, tmp_path):
    written = write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    first = shards_in(tmp_path)[0]
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match="shard-000000"):
        decode_frames(written.full_path(written.videos[0]), [0], short_side=None)
    write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    assert first.read_bytes() == whole


def test_other_videos_or_settings_are_refused(manifest, tmp_path):
    write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    with pytest.raises(UsageError, match="other videos, size or seed"):
        write_shards(manifest, tmp_path, shard_bytes=SMALL, seed=1, workers=1)
    unscanned = manifest.with_videos([dataclasses.replace(manifest.videos[0], status="unscanned")])
    with pytest.raises(DataError, match="not scanned"):
        write_shards(unscanned, tmp_path / "other")


def test_shards_of_others_are_read(manifest, tmp_path):
    data = [manifest.full_path(video).read_bytes() for video in manifest.videos[:3]]
    for split, rows in (("train", data[:2]), ("test", data[2:])):
        with tarfile.open(tmp_path / f"{split}-0000.tar", "w") as tar:
            for number, video in enumerate(rows):
                for name, content in (
                    ("mkv", video),
                    ("cls", f"{number}".encode()),
                    ("md5.txt", b"no label"),
                ):
                    entry = tarfile.TarInfo(f"clips/sample_{number}.{name}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    found = read_dataset(tmp_path)
    assert found.kind == "shards in webdataset's format"
    assert [(v.path, v.label, v.split) for v in found.manifest.videos] == [
        ("test-0000.tar/clips/sample_0.mkv", "0", "test"),
        ("train-0000.tar/clips/sample_0.mkv", "0", "train"),
        ("train-0000.tar/clips/sample_1.mkv", "1", "train"),
    ]
    assert [video.status for video in scan(found.manifest, workers=1).videos] == ["ok"] * 3


def test_a_sample_without_a_label_is_named(manifest, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        entry = tarfile.TarInfo("x.mp4")
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(DataError, match=r"a\.tar: sample x has no label"):
        read_dataset(tmp_path)


def test_any_number_of_workers_gives_the_same_samples_in_the_same_order(manifest, tmp_path):
    sharded = write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    recipe = Recipe(clip=ClipFormat(frames=3, stride=2, short_side=20, size=16))
    clips = TrainClips(sharded, recipe, 7, DecodedOnDemand(sharded, recipe.clip))
    plan = [[(1, i) for i in batch] for batch in epoch_batches(len(clips), 4, 1, seed=7, epoch=1)]
    ways = [list(load(clips, plan, workers, torch.device("cpu"), 7)) for workers in (0, 1, 2)]
    for other in ways[1:]:
        for (clip, labels), (same, same_labels) in zip(ways[0], other, strict=True):
            torch.testing.assert_close(clip, same, rtol=0, atol=0)
            assert labels.equal(same_labels)


def tarred(folder, **files) -> None:
    """folder/train-0.tar with these files."""
    with tarfile.open(folder / "train-0.tar", "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def test_shards_of_others_are_read_whatever_their_names(manifest, tmp_path):
    data = manifest.full_path(manifest.videos[0]).read_bytes()
    told = b'{"label": "jump", "split": "Validation", "group": 7}'
    tarred(
        tmp_path, **{"./a.mkv": data, "./a.cls": b"run\n", "b.v1.mkv": data, "b.json": told, "c.txt": b"x"}
    )
    found = read_dataset(tmp_path)
    assert found.ignored == ("train-0.tar/c.txt",)
    rows = [(v.path, v.label, v.split, v.group) for v in found.manifest.videos]
    assert rows == [
        ("train-0.tar/a.mkv", "run", "train", ""),
        ("train-0.tar/b.v1.mkv", "jump", "val", "7"),
    ]
    for video in scan(found.manifest, workers=1).videos:
        assert (video.status, video.frames) == ("ok", manifest.videos[0].frames)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (b"[1]", "sample a: a.json holds a list"),
        (b"{", "a.json is no JSON"),
        (b'{"label": "x", "split": "?"}', "split '\\?'"),
    ],
)
def test_what_is_wrong_in_a_sample_is_named(tmp_path, told, words):
    tarred(tmp_path, **{"a.mkv": b"", "a.json": told})
    with pytest.raises(DataError, match=words):
        read_dataset(tmp_path)


def test_unfinished_shards_are_no_data_set(manifest, tmp_path):
    write_shards(manifest, tmp_path, shard_bytes=SMALL, workers=1)
    (tmp_path / "manifest.csv").unlink()
    with pytest.raises(DataError, match="not finished: run `timelift shards` again"):
        read_dataset(tmp_path)


def test_an_archive_beside_class_folders_hides_nothing(tmp_path):
    write_videos(tmp_path, per_class=1)
    tarred(tmp_path, **{"a.mkv": b""})
    found = read_dataset(tmp_path)
    assert len(found.manifest.videos) == 4
    assert found.ignored == ("train-0.tar",)


def test_parts_of_a_film_are_packed_once(manifest, tmp_path):
    film = dataclasses.replace(manifest.videos[0], status="unscanned")
    parts = [dataclasses.replace(film, start=a, end=b) for a, b in ((0.0, 0.08), (0.08, 0.16))]
    scanned = scan(manifest.with_videos([*parts, manifest.videos[-1]]), workers=1)
    written = write_shards(scanned, tmp_path, workers=1)
    (path,) = shards_in(tmp_path)
    with tarfile.open(path) as tar:
        assert sum(name.endswith(".mkv") for name in tar.getnames()) == 2
    frames = DecodedOnDemand(written, ClipFormat(short_side=None))  # type: ignore[arg-type]
    before = DecodedOnDemand(scanned, ClipFormat(short_side=None))  # type: ignore[arg-type]
    for video in scanned.videos:
        (packed,) = (
            v for v in written.videos if (v.label, v.start, v.end) == (video.label, video.start, video.end)
        )
        np.testing.assert_array_equal(frames.frames(packed, [1, 0]), before.frames(video, [1, 0]))
    (tmp_path / "manifest.csv").unlink()
    (tmp_path / "shards.json").unlink()  # as another machine may get them: the rows are in the samples, too
    assert {(v.start, v.end) for v in read_dataset(tmp_path).manifest.videos} == {
        (0.0, 0.08),
        (0.08, 0.16),
        (0.0, 0.0),
    }
