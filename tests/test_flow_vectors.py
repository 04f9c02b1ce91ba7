"""What happens to flow vectors, against numpy: quantised, scaled, mirrored and turned with the frame."""

from dataclasses import replace

import numpy as np
import pytest

from timelift.data import transforms
from timelift.data.flow_vectors import (
    displacements,
    mirrored,
    quantised,
    resized_flow,
    stacked,
    turned,
    without_mean,
)
from timelift.data.sampling import clip_indices, clip_span
from timelift.records import Augmentation, ClipFormat, Recipe, UsageError
from timelift.records.recipe import parse_recipe, recipe_to_dict
from timelift.runs.pixels import ClipTransform, Normalise, with_pixels_of

STEP = 20 / 127
STILL = Augmentation(random_crop=False, flip=0.0)
FORMAT = ClipFormat(frames=3, size=16, short_side=20, channels=2)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(1, 256, shape, dtype=np.uint8)


def everywhere(u: float, v: float, height: int, width: int) -> np.ndarray:
    return quantised(np.full((height, width, 2), (u, v), np.float32), 20)


@pytest.mark.parametrize("bound", [20.0, 7.5, 0.25])
def test_vectors_come_back_within_half_a_step(bound):
    flow = np.random.default_rng(0).uniform(-bound, bound, (3, 7, 9, 2)).astype(np.float32)
    back = displacements(quantised(flow, bound), bound)
    assert np.abs(back - flow).max() <= bound / 254 * 1.0001
    assert np.abs(back - flow).max() > bound / 300  # no finer than it is said to be


def test_vectors_are_bounded_and_no_motion_is_exact():
    flow = np.array([[[-1e6, 1e6], [0.0, 20.0]]], np.float32)
    assert quantised(flow, 20).tolist() == [[[1, 255], [128, 255]]]
    np.testing.assert_allclose(displacements(quantised(flow, 20), 20), np.clip(flow, -20, 20))
    assert displacements(np.zeros((1, 1, 2), np.uint8), 20).min() == -20  # a pixel that JPEG may make


def test_nothing_is_quantised_of_no_frames():
    assert quantised(np.zeros((0, 4, 5, 2)), 20).shape == mirrored(noise(0, 4, 5, 2)).shape == (0, 4, 5, 2)


@pytest.mark.parametrize(("width", "height"), [(10, 12), (30, 24), (7, 31), (20, 24), (1, 1), (13, 24)])
def test_a_resized_frame_has_its_vectors_times_the_scale(width, height):
    field = everywhere(6.0, -4.0, 24, 20)  # 24 high, 20 wide
    resized = resized_flow(field, width, height)
    wanted = displacements(field, 20)[0, 0] * (width / 20, height / 24)
    assert resized.shape == (height, width, 2)
    assert np.abs(displacements(resized, 20) - wanted).max() <= STEP / 2 + 1e-5


def test_halving_is_the_mean_of_four_halved():
    field = noise(8, 6, 2)
    means = displacements(field, 20).reshape(4, 2, 3, 2, 2).mean(axis=(1, 3))
    assert np.abs(displacements(resized_flow(field, 3, 4), 20) - means / 2).max() <= STEP / 2 + 1e-5


def test_vectors_that_grow_beyond_the_bound_are_cut():
    assert resized_flow(everywhere(15, -15, 4, 4), 8, 8)[0, 0].tolist() == [255, 1]


def test_a_mirror_is_numpys_flip_with_u_of_the_other_sign_and_undoes_itself():
    fields = noise(3, 5, 7, 2)
    there = mirrored(fields)
    wanted = displacements(fields, 20)[:, :, ::-1] * (-1, 1)
    np.testing.assert_allclose(displacements(there, 20), wanted, atol=1e-5)
    np.testing.assert_array_equal(mirrored(there), fields)


def test_a_quarter_turn_of_the_frame_turns_its_vectors():
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])  # right becomes down, as pixels count
    assert turned(everywhere(5, 0, 1, 1), quarter).tolist() == everywhere(0, 5, 1, 1).tolist()


def test_the_mean_vector_of_each_field_goes():
    fields = noise(4, 6, 5, 2)
    rest = displacements(without_mean(fields), 200)  # of steps 1.6 pixels apart: nothing else is cut
    steps = fields.astype(float) - 128
    wanted = np.clip(np.rint(steps - steps.mean(axis=(1, 2), keepdims=True)), -127, 127) * (200 / 127)
    np.testing.assert_allclose(rest, wanted, atol=200 / 127 + 1e-3)
    panned = quantised(np.full((1, 4, 4, 2), (3.0, -2.0)), 20)
    assert (without_mean(panned) == 128).all()


@pytest.mark.parametrize("stack", [1, 2, 5])
def test_a_stack_holds_u_and_v_of_one_field_after_the_other(stack):
    clip = noise(2, 10, 3, 4, 2)
    frames = stacked(clip, stack)
    assert frames.shape == (2, 10 // stack, 3, 4, 2 * stack)
    for t in range(10):
        for channel in (0, 1):
            place = frames[:, t // stack, ..., 2 * (t % stack) + channel]
            np.testing.assert_array_equal(place, clip[:, t, ..., channel])


@pytest.mark.parametrize("video_frames", [1, 4, 9, 40])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("stack", [1, 2, 10])
def test_each_stack_goes_on_from_its_frame(video_frames, stride, stack):
    alone = clip_indices(video_frames, 4, stride, 0)
    wanted = [min(first + k, video_frames - 1) for first in alone for k in range(stack)]
    assert clip_indices(video_frames, 4, stride, 0, stack) == wanted
    last = clip_indices(1000, 4, stride, 0, stack)[-1]
    assert clip_span(4, stride, stack) == last + 1


@pytest.mark.parametrize("frame_size", [(20, 31), (31, 20), (9, 12), (1, 1)])
def test_a_crop_that_is_resized_scales_the_vectors_of_every_view(frame_size):
    frames = np.stack([everywhere(4.0, -2.0, *frame_size)] * 3)
    kept = displacements(frames, 20)[0, 0, 0]
    scale = 16 / min(16, *frame_size)
    for crops in (
        transforms.centre_crop(frames, 16)[None],
        transforms.three_crops(frames, 16),
        transforms.ten_crops(frames, 16),
    ):
        for i, crop in enumerate(crops):
            sign = -1 if i >= 5 else 1  # the second five of ten are flipped
            wanted = np.clip(kept * scale * (sign, 1), -20, 20)
            assert np.abs(displacements(crop, 20) - wanted).max() <= STEP / 2 + 1e-5


def test_a_drawn_crop_and_flip_scale_and_mirror():
    frames = np.stack([everywhere(4.0, -2.0, 20, 31)] * 3)
    for seed in range(10):
        drawn = transforms.draw(Augmentation(flip=0.5), FORMAT, np.random.default_rng(seed), (20, 31))
        wanted = displacements(frames, 20)[0, 0, 0] * (16 / drawn.square.side)
        wanted = wanted * (-1 if drawn.flip else 1, 1)
        clip = transforms.apply(drawn, frames)
        assert clip.shape == (3, 16, 16, 2)
        assert np.abs(displacements(clip, 20) - wanted).max() <= STEP / 2 + 1e-5


def test_a_drawn_motion_of_the_frame_moves_its_vectors_and_what_comes_in_does_not_move():
    frames = np.stack([everywhere(4.0, -2.0, 16, 16)] * 3)
    quarter = (0.0, -1.0, 15.0, 1.0, 0.0, 0.0)  # about the centre
    drawn = transforms.Drawn(transforms.Square(0, 0, 16), 16, False, quarter, None)
    assert np.abs(displacements(transforms.apply(drawn, frames), 20) - (2.0, 4.0)).max() <= STEP
    away = replace(drawn, matrix=(1.0, 0.0, 99.0, 0.0, 1.0, 0.0))
    assert (transforms.apply(away, frames) == 128).all()


def test_a_drawn_stack_is_flipped_in_all_its_fields_and_shuffled_as_a_whole():
    stack_of_two = replace(FORMAT, stack=2)
    fields = noise(6, 16, 16, 2)
    drawn = transforms.draw(replace(STILL, flip=1.0), stack_of_two, np.random.default_rng(0), (16, 16))
    np.testing.assert_array_equal(transforms.apply(drawn, fields), stacked(mirrored(fields), 2))
    mixed = replace(drawn, flip=False, order=(2, 0, 1))
    np.testing.assert_array_equal(transforms.apply(mixed, fields), stacked(fields, 2)[[2, 0, 1]])


def test_the_zero_of_flow_is_the_networks_zero():
    clip = with_pixels_of(replace(FORMAT, stack=3), None)
    assert clip.in_channels == len(clip.mean) == len(clip.std) == 6
    clip = replace(clip, subtract_mean_flow=True)
    panned = np.stack([everywhere(u, 3.0, 20, 24) for u in (1.0, 2.0, -7.0)] * 3)
    out = ClipTransform(clip, Normalise(clip.mean, clip.std))(panned)
    assert out.shape == (1, 6, 3, 16, 16)
    assert np.abs(out.numpy()).max() < 1e-6


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip": {"stack": 5}},
        {"clip": {"stack": 0, "channels": 2}},
        {"clip": {"subtract_mean_flow": True}},
        {"clip": {"channels": 2}, "augmentation": {"pca_noise": 0.1}},
    ],
)
def test_what_only_flow_has_or_has_not_is_refused(wrong):
    with pytest.raises(UsageError, match="optical flow"):
        parse_recipe(wrong)


def test_a_recipe_of_flow_is_read_as_it_was_written():
    recipe = Recipe(clip=replace(FORMAT, stack=10, subtract_mean_flow=True))
    assert parse_recipe(recipe_to_dict(recipe)) == recipe
