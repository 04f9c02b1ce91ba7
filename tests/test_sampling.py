from itertools import product

import numpy as np
import pytest

from timelift.data.sampling import (
    clip_indices,
    clip_span,
    even_starts,
    latest_start,
    middle_start,
    random_start,
    sliding_starts,
)

VIDEO_FRAMES = (1, 2, 3, 7, 8, 30, 101)
CLIPS = tuple(product((1, 2, 4, 8, 16), (1, 2, 3, 8)))  # frames x stride
SPANS = (1, 2, 5, 16, 40)


def test_the_example_of_the_docstring():
    assert clip_indices(8, 4, 2, start=2) == [2, 4, 6, 6]


@pytest.mark.parametrize("video_frames", VIDEO_FRAMES)
@pytest.mark.parametrize(("frames", "stride"), CLIPS)
def test_a_clip_steps_by_the_stride_and_stays_on_its_last_frame(video_frames, frames, stride):
    for start in range(video_frames):
        expected, frame = [], start
        for _ in range(frames):
            expected.append(frame)
            if frame + stride < video_frames:
                frame += stride
        assert clip_indices(video_frames, frames, stride, start) == expected


@pytest.mark.parametrize("video_frames", VIDEO_FRAMES)
@pytest.mark.parametrize(("frames", "stride"), CLIPS)
def test_the_latest_start_is_the_last_that_repeats_nothing(video_frames, frames, stride):
    def whole(start):
        return len(set(clip_indices(video_frames, frames, stride, start))) == frames

    starts = [start for start in range(video_frames) if whole(start)]
    assert latest_start(video_frames, clip_span(frames, stride)) == max(starts, default=0)


@pytest.mark.parametrize("video_frames", VIDEO_FRAMES)
@pytest.mark.parametrize("span", SPANS)
def test_random_starts_take_every_place_and_no_other(video_frames, span):
    rng = np.random.default_rng(5)
    places = latest_start(video_frames, span) + 1
    drawn = {random_start(video_frames, span, rng) for _ in range(30 * places)}
    assert drawn == set(range(places))


@pytest.mark.parametrize("video_frames", VIDEO_FRAMES)
@pytest.mark.parametrize("span", SPANS)
def test_the_middle_start_leaves_as_much_before_as_behind(video_frames, span):
    start = middle_start(video_frames, span)
    behind = max(0, video_frames - span) - start
    assert behind - start in (0, 1)


@pytest.mark.parametrize("video_frames", VIDEO_FRAMES)
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("clips", [2, 3, 4, 10])
def test_even_starts_reach_from_end_to_end_in_equal_steps(video_frames, span, clips):
    starts = even_starts(video_frames, span, clips)
    exact = np.linspace(0, latest_start(video_frames, span), clips)
    assert len(starts) == clips
    assert (starts[0], starts[-1]) == (exact[0], exact[-1])
    assert np.abs(np.array(starts) - exact).max() <= 0.5


def test_a_single_even_start_is_the_middle_one():
    assert even_starts(30, 8, 1) == [middle_start(30, 8)] == [11]


@pytest.mark.parametrize("video_frames", VIDEO_FRAMES)
@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("window_stride", [1, 3, 7, 200])
def test_sliding_windows_step_evenly_and_see_the_end(video_frames, span, window_stride):
    starts = sliding_starts(video_frames, span, window_stride)
    latest = latest_start(video_frames, span)
    assert starts[0] == 0
    assert starts[-1] == latest
    steps = np.diff(starts)
    assert (steps[:-1] == window_stride).all()
    assert (steps > 0).all()
    assert (steps <= window_stride).all()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: clip_indices(0, 4, 1, 0),
        lambda: clip_indices(8, 4, 1, 8),
        lambda: clip_indices(8, 4, 1, -1),
        lambda: clip_indices(8, 0, 1, 0),
        lambda: clip_indices(8, 4, 0, 0),
        lambda: latest_start(0, 4),
        lambda: latest_start(8, 0),
        lambda: even_starts(8, 4, 0),
        lambda: sliding_starts(8, 4, 0),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\d"):
        wrong()
