"""Frames come out by decode order, upright, in the right size; broken files give what is left of them."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from timelift.data.decode import decode_frames
from timelift.data.examine import examine
from timelift.data.tree import natural_key
from timelift.records import DataError

HEIGHT, WIDTH = 38, 54


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (frames, HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_video(path: Path, frames: np.ndarray, codec: str = "ffv1", pix_fmt: str = "gray") -> Path:
    """Frames (T, H, W, C) as a video; FFV1 loses nothing."""
    form = "gray" if frames.shape[-1] == 1 else "rgb24"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for time, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels.squeeze()), format=form)
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_pictures(folder: Path, frames: np.ndarray, name: str = "frame_{}.png") -> Path:
    folder.mkdir()
    for index, pixels in enumerate(frames):
        cv2.imwrite(str(folder / name.format(index)), pixels[..., ::-1])
    return folder


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".nut"])
def test_a_grey_source_comes_out_bit_by_bit(tmp_path, suffix):
    frames = noise(6)
    path = write_video(tmp_path / f"noise{suffix}", frames)
    np.testing.assert_array_equal(decode_frames(path, None, short_side=None, channels=1), frames)
    np.testing.assert_array_equal(decode_frames(path, None, short_side=HEIGHT, channels=1), frames)
    colour = decode_frames(path, None, short_side=None, channels=3)
    np.testing.assert_array_equal(colour, np.repeat(frames, 3, axis=-1))


def test_a_colour_source_comes_out_as_rgb_and_as_its_luma(tmp_path):
    frames = noise(3, channels=3)
    path = write_video(tmp_path / "colour.mkv", frames, pix_fmt="bgr0")
    np.testing.assert_array_equal(decode_frames(path, None, short_side=None), frames)
    luma = frames @ np.array([0.299, 0.587, 0.114])
    grey = decode_frames(path, None, short_side=None, channels=1)[..., 0]
    np.testing.assert_allclose(grey, luma, atol=1)


@pytest.mark.parametrize("indices", [[0], [4, 1, 1, 3], [5, 5], range(6)], ids=str)
def test_frames_come_in_the_order_asked_for(tmp_path, indices):
    frames = noise(6)
    path = write_video(tmp_path / "noise.mkv", frames)
    decoded = decode_frames(path, indices, short_side=None, channels=1)
    np.testing.assert_array_equal(decoded, frames[list(indices)])


def test_frames_with_unsorted_timestamps_come_in_decode_order(shared):
    path = shared / "data/ucf101-original/videos/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    with av.open(str(path)) as container:
        oracle = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert not examine(path).timestamps_increasing
    picked = decode_frames(path, [120, 7, 163], short_side=None, channels=1)[..., 0]
    np.testing.assert_array_equal(picked, [oracle[120], oracle[7], oracle[163]])


def test_decoding_stops_after_the_last_wanted_frame(tmp_path, monkeypatch):
    import timelift.data.decode as module

    path = write_video(tmp_path / "noise.mkv", noise(20))
    seen = []
    decoded = module.decoded_frames
    monkeypatch.setattr(
        module, "decoded_frames", lambda *args: (seen.append(frame) or frame for frame in decoded(*args))
    )
    decode_frames(path, [2, 4], short_side=None)
    assert len(seen) == 5


@pytest.mark.parametrize("short_side", [19, 17, 76])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_scaling_keeps_the_aspect_and_averages_areas(tmp_path, kind, short_side):
    frames = noise(2, channels=3)
    if kind == "file":
        path = write_video(tmp_path / "colour.mkv", frames, pix_fmt="bgr0")
    else:
        path = write_pictures(tmp_path / "frames", frames)
    scaled = decode_frames(path, None, short_side=short_side)
    width = round(WIDTH * short_side / HEIGHT)
    assert scaled.shape == (2, short_side, width, 3)
    how = cv2.INTER_AREA if short_side < HEIGHT else cv2.INTER_LINEAR
    oracle = np.stack([cv2.resize(frame, (width, short_side), interpolation=how) for frame in frames])
    assert np.abs(scaled.astype(int) - oracle).mean() < 12  # of noise; nearest pixels differ by 60


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("short_side", [7, 14, 20, 25, 26])  # widths odd and even, small and large
def test_scaled_frames_are_those_of_one_plain_call(tmp_path, pix_fmt, short_side):
    path = write_video(tmp_path / "colour.mkv", noise(3, channels=3), pix_fmt=pix_fmt)
    width = round(WIDTH * short_side / HEIGHT)
    with av.open(str(path)) as container:
        oracle = [
            frame.reformat(width, short_side, "rgb24", interpolation="AREA").to_ndarray()
            for frame in container.decode(video=0)
        ]
    np.testing.assert_array_equal(decode_frames(path, None, short_side=short_side), oracle)
    picked = decode_frames(path, [2, 0, 2], short_side=short_side)
    np.testing.assert_array_equal(picked, [oracle[2], oracle[0], oracle[2]])


def test_more_frames_than_there_was_room_for(tmp_path):
    frames = noise(2 * 64 + 1)
    path = write_video(tmp_path / "long.mkv", frames)
    np.testing.assert_array_equal(decode_frames(path, None, short_side=None, channels=1), frames)


# the matrix of an MP4 track for each turn: a, b, c, d of (x, y) -> (a x + c y, b x + d y)
TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize("degrees", TURNS)
def test_a_turned_video_stands_upright(tmp_path, degrees):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    flat = np.repeat(((x * 2 + y * 4) % 256).astype(np.uint8)[None, ..., None], 3, axis=0)
    path = write_video(tmp_path / "turned.mp4", flat, codec="mpeg4", pix_fmt="yuv420p")
    level = decode_frames(path, [0], short_side=None)[0]
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in TURNS[degrees])
    for place, value in zip((0, 1, 3, 4), (a, b, c, d), strict=True):
        data[matrix + 4 * place : matrix + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)

    upright = decode_frames(path, [0], short_side=None)[0]
    np.testing.assert_array_equal(upright, np.rot90(level, k=-degrees // 90))
    facts = examine(path)
    assert facts.rotation == degrees
    assert (facts.height, facts.width) == upright.shape[:2]
    assert min(decode_frames(path, [0], short_side=20).shape[1:3]) == 20


def test_a_folder_of_frames_is_read_in_natural_order(tmp_path):
    frames = noise(12, channels=3)
    folder = write_pictures(tmp_path / "frames", frames)  # frame_10 stands before frame_2 in plain order
    np.testing.assert_array_equal(decode_frames(folder, [10, 2], short_side=None), frames[[10, 2]])
    facts = examine(folder)
    assert (facts.status, facts.frames, facts.declared_frames) == ("ok", 12, 12)
    assert (facts.height, facts.width) == (HEIGHT, WIDTH)


def test_a_folder_with_broken_pictures_is_damaged_and_keeps_the_others(tmp_path):
    frames = noise(5, channels=3)
    folder = write_pictures(tmp_path / "frames", frames)
    (folder / "frame_1.png").write_bytes(b"")
    facts = examine(folder)
    assert (facts.status, facts.frames, facts.errors) == ("damaged", 4, 1)
    assert "frame_1.png" in facts.reason
    np.testing.assert_array_equal(decode_frames(folder, None, short_side=None), frames[[0, 2, 3, 4]])


def test_a_jpeg_that_is_cut_off_is_damage(tmp_path):
    folder = write_pictures(tmp_path / "frames", noise(3, channels=3), name="{}.jpg")
    assert examine(folder).status == "ok"
    whole = (folder / "1.jpg").read_bytes()
    (folder / "1.jpg").write_bytes(whole[: len(whole) // 2])
    facts = examine(folder)
    assert (facts.status, facts.frames) == ("damaged", 2)
    assert "1.jpg" in facts.reason


def test_pictures_of_another_size_take_the_first_ones(tmp_path):
    folder = write_pictures(tmp_path / "frames", noise(2, channels=3))
    cv2.imwrite(str(folder / "frame_1.png"), np.zeros((50, 50, 3), np.uint8))
    assert decode_frames(folder, None, short_side=None).shape == (2, HEIGHT, WIDTH, 3)
    assert decode_frames(folder, [1], short_side=None).shape == (1, HEIGHT, WIDTH, 3)


def test_natural_order():
    names = ["f10.png", "f2.png", "f1.png", "a.png", "f02b.png"]
    assert sorted(names, key=natural_key) == ["a.png", "f1.png", "f2.png", "f02b.png", "f10.png"]


def test_an_index_past_the_end_of_a_damaged_file_names_both_counts(shared):
    path = shared / "data/awkward/derived/truncated_half_v_Archery_g01_c01.avi"
    assert decode_frames(path, [66], short_side=32).shape[0] == 1
    with pytest.raises(DataError, match=r"truncated_half.*131 frame\(s\) needed, but only 67 decode"):
        decode_frames(path, [3, 130], short_side=32)


@pytest.mark.parametrize("name", ["empty.mp4", "text_renamed.mp4", "truncated_60pct_bikes.mp4", "none.mp4"])
def test_what_cannot_be_read_is_named(shared, name):
    path = shared / "data/awkward/derived" / name
    with pytest.raises(DataError, match=f"{name} cannot be read as a video"):
        decode_frames(path, [0], short_side=None)
    facts = examine(path)
    assert facts.status == "unreadable"
    assert facts.reason


def test_a_file_with_sound_only_is_unreadable(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert "no video stream" in examine(path).reason
    with pytest.raises(DataError, match="no video stream"):
        decode_frames(path, [0], short_side=None)


@pytest.mark.parametrize(
    ("indices", "channels", "words"), [([], 3, "at least one"), ([2, -1], 3, "from 0"), ([0], 4, "channels")]
)
def test_wrong_use_is_refused(tmp_path, indices, channels, words):
    with pytest.raises(ValueError, match=words):
        decode_frames(tmp_path / "any.mp4", indices, short_side=None, channels=channels)


def test_damage_is_counted(shared):
    folder = shared / "data/awkward/derived"
    cut = examine(folder / "truncated_half_v_Archery_g01_c01.avi")
    assert (cut.status, cut.frames, cut.errors) == ("damaged", 67, 2)  # half a packet, and what it held
    assert "67 of 131 frames decode: a packet is cut off" in cut.reason
    rotten = examine(folder / "bitrot_v_Archery_g01_c01.avi")
    assert (rotten.status, rotten.frames) == ("damaged", 130)
    assert rotten.errors > 1


def test_a_cut_matroska_is_short_though_no_decoder_complains(shared):
    facts = examine(shared / "data/awkward/derived/truncated_70pct_pancake.mkv")
    assert (facts.status, facts.frames, facts.declared_frames) == ("short", 214, 0)
    assert "7.1 s" in facts.reason
    assert "10.3 s" in facts.reason
