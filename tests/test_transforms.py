from dataclasses import replace

import cv2
import numpy as np
import pytest

from timelift.data import transforms
from timelift.data.transforms import Drawn, Square
from timelift.records import Augmentation, ClipFormat

STILL = Augmentation(random_crop=False, flip=0.0, temporal_jitter=False)
EVERYTHING = Augmentation(flip=0.5, rotate_degrees=20, translate=0.1, scale=0.2, shear_degrees=10)
FORMAT = ClipFormat(frames=5, size=16, short_side=20)


def noise(*shape):
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def drawn_by(augmentation, seed, frame_size, clip_format=FORMAT):
    return transforms.draw(augmentation, clip_format, np.random.default_rng(seed), frame_size)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_to_do_gives_the_same_pixels(channels):
    frames = noise(5, 28, 28, channels)
    drawn = drawn_by(STILL, 0, (28, 28), replace(FORMAT, size=28))
    np.testing.assert_array_equal(transforms.apply(drawn, frames), frames)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("frame_size", [(20, 31), (31, 20), (20, 20), (9, 12), (1, 1), (16, 40)])
@pytest.mark.parametrize("augmentation", [EVERYTHING, STILL, replace(STILL, flip=1.0), Augmentation()])
def test_a_clip_is_square_bytes_in_one_piece(channels, frame_size, augmentation):
    frames = noise(5, *frame_size, channels)
    for seed in range(20):
        drawn = drawn_by(augmentation, seed, frame_size)
        clip = transforms.apply(drawn, frames)
        assert clip.shape == (5, 16, 16, channels)
        assert clip.dtype == np.uint8
        assert clip.flags.c_contiguous


def test_all_frames_of_a_clip_are_changed_alike():
    frame = noise(1, 20, 31, 3)
    for seed in range(20):
        clip = transforms.apply(drawn_by(EVERYTHING, seed, (20, 31)), np.repeat(frame, 5, axis=0))
        assert (clip == clip[:1]).all()


def test_clips_differ_from_one_another():
    drawn = {drawn_by(EVERYTHING, seed, (20, 31)) for seed in range(20)}
    assert len(drawn) == 20


def test_a_flip_is_numpys():
    frames = noise(5, 16, 16, 3)
    flipped = transforms.apply(drawn_by(replace(STILL, flip=1.0), 0, (16, 16)), frames)
    np.testing.assert_array_equal(flipped, np.flip(frames, axis=2))


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_flips_are_as_frequent_as_said(probability):
    augmentation = replace(STILL, flip=probability)
    flips = np.mean([drawn_by(augmentation, seed, (16, 16)).flip for seed in range(800)])
    assert abs(flips - probability) < 0.05


@pytest.mark.parametrize("frame_size", [(128, 171), (171, 128), (128, 128)])
def test_random_squares_lie_inside_and_reach_every_edge(frame_size):
    augmentation = Augmentation(crop_scale=(0.6, 1.0))
    squares = [drawn_by(augmentation, seed, frame_size).square for seed in range(1500)]
    sides = np.array([square.side for square in squares])
    corners = np.array([(square.top, square.left) for square in squares])
    room = np.array(frame_size) - sides[:, None]
    assert (corners >= 0).all()
    assert (corners <= room).all()
    assert (corners == 0).any(axis=0).all()
    assert (corners == room).any(axis=0).all()
    assert sides.min() == round(0.6**0.5 * 128)
    assert sides.max() == 128
    shares = sides**2 / 128**2  # drawn evenly by area
    assert abs(shares.mean() - 0.8) < 0.02


def test_a_square_is_cut_out_and_resized_frame_by_frame():
    frames = noise(5, 20, 31, 3)
    for square in (Square(2, 5, 16), Square(0, 11, 20), Square(3, 1, 7)):
        clip = transforms.apply(Drawn(square, 16, flip=False, matrix=None, order=None), frames)
        for frame, out in zip(frames, clip, strict=True):
            cut = frame[square.top : square.top + square.side, square.left : square.left + square.side]
            how = cv2.INTER_AREA if square.side > 16 else cv2.INTER_LINEAR
            np.testing.assert_array_equal(out, cv2.resize(cut, (16, 16), interpolation=how))


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
@pytest.mark.parametrize("size", [16, 17])
def test_the_affine_turns_about_the_middle(quarter_turns, size):
    frames = noise(5, size, size, 1)
    matrix = transforms._matrix(np.pi / 2 * quarter_turns, 0, 0, zoom=1, shear=0, size=size)
    turned = transforms.apply(Drawn(Square(0, 0, size), size, False, matrix, None), frames)
    np.testing.assert_array_equal(turned, np.rot90(frames, -quarter_turns, axes=(1, 2)))


def test_the_affine_shifts_scales_and_shears_about_the_middle():
    linear = np.array(transforms._matrix(0.3, 2, -1, zoom=1.5, shear=0.2, size=11)).reshape(2, 3)
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    for point in np.random.default_rng(0).normal(size=(5, 2)):
        sheared = np.array([point[0] + np.tan(0.2) * point[1], point[1]])
        expected = turn @ sheared * 1.5 + [5 + 2, 5 - 1]
        np.testing.assert_allclose(linear @ [*(point + 5), 1], expected)


def test_what_moves_in_from_outside_is_black():
    frames = np.full((5, 16, 16, 3), 255, np.uint8)
    matrix = transforms._matrix(0, 3, 0, zoom=1, shear=0, size=16)
    moved = transforms.apply(Drawn(Square(0, 0, 16), 16, False, matrix, None), frames)
    assert (moved[:, :, :3] == 0).all()
    assert (moved[:, :, 3:] == 255).all()


def test_the_affine_stays_within_what_was_said():
    augmentation = replace(STILL, rotate_degrees=30)
    angles = []
    for seed in range(300):
        a, b, _, c, d, _ = drawn_by(augmentation, seed, (16, 16)).matrix
        assert np.hypot(a, c) == pytest.approx(1)
        assert (a, b) == pytest.approx((d, -c))
        angles.append(np.degrees(np.arctan2(c, a)))
    assert -30 <= min(angles) < -27
    assert 27 < max(angles) <= 30


def test_shuffling_keeps_the_frames_and_loses_their_order():
    frames = noise(5, 16, 16, 3)
    augmentation = replace(STILL, shuffle_frames=True)
    orders = {drawn_by(augmentation, seed, (16, 16)).order for seed in range(30)}
    assert len(orders) > 20
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    drawn = drawn_by(augmentation, 1, (16, 16))
    np.testing.assert_array_equal(transforms.apply(drawn, frames), frames[list(drawn.order)])


def test_switching_one_thing_off_leaves_the_draws_of_the_rest():
    for seed in range(10):
        whole = drawn_by(replace(EVERYTHING, shuffle_frames=True), seed, (20, 31))
        assert drawn_by(replace(EVERYTHING, flip=0.0), seed, (20, 31)) == replace(
            whole, flip=False, order=None
        )
        still = replace(STILL, shuffle_frames=True)
        assert drawn_by(still, seed, (20, 31)).order == whole.order


def test_the_centre_crop_is_the_middle_of_the_frame():
    frames = noise(5, 20, 30, 3)
    np.testing.assert_array_equal(transforms.centre_crop(frames, 16), frames[:, 2:18, 7:23])


@pytest.mark.parametrize("tall", [False, True])
def test_three_crops_run_along_the_longer_side(tall):
    frames = noise(5, 20, 30, 3)
    expected = [frames[:, 2:18, left : left + 16] for left in (0, 7, 14)]
    if tall:
        frames = frames.swapaxes(1, 2)
        expected = [crop.swapaxes(1, 2) for crop in expected]
    np.testing.assert_array_equal(transforms.three_crops(frames, 16), np.stack(expected))


def test_ten_crops_are_corners_centre_and_their_mirrors():
    frames = noise(5, 20, 30, 3)
    crops = transforms.ten_crops(frames, 16)
    places = [(0, 0), (0, 14), (4, 0), (4, 14), (2, 7)]
    five = np.stack([frames[:, top : top + 16, left : left + 16] for top, left in places])
    np.testing.assert_array_equal(crops, np.concatenate([five, np.flip(five, axis=3)]))


@pytest.mark.parametrize("crop", [transforms.centre_crop, transforms.three_crops, transforms.ten_crops])
def test_small_frames_are_scaled_up_to_the_crop(crop):
    frames = noise(5, 8, 12, 1)
    middle = frames[:, :, 2:10]
    expected = np.stack([cv2.resize(frame, (16, 16)) for frame in middle])[..., None]
    crops = crop(frames, 16).reshape(-1, 5, 16, 16, 1)
    assert any(np.array_equal(clip, expected) for clip in crops)
    np.testing.assert_array_equal(transforms.apply(drawn_by(STILL, 0, (8, 12)), frames), expected)
