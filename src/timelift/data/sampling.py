"""Which frames a clip is made of: index arithmetic on ints, nothing decoded."""

import numpy as np


def clip_span(frames_per_clip: int, frame_stride: int, stack: int = 1) -> int:
    """How many frames of the video a clip reaches over, from its first to the last of its last stack.

    Raises:
        ValueError: if either is below 1.
    """
    if frames_per_clip < 1 or frame_stride < 1 or stack < 1:
        raise ValueError(
            f"a clip of {frames_per_clip} frames, every {frame_stride}-th, in stacks of {stack}: "
            "all must be at least 1"
        )
    return (frames_per_clip - 1) * frame_stride + stack


def clip_indices(
    video_frames: int, frames_per_clip: int, frame_stride: int, start: int, stack: int = 1
) -> list[int]:
    """Indices of the frames of one clip; past the video's end, the clip's last frame repeats.

    frames_per_clip=4, frame_stride=2, start=2 in a video of 8 frames: [2, 4, 6, 6].
    stack: so many frames in a row from each of these; 2: [2, 3, 4, 5, 6, 7, 6, 7].

    Raises:
        ValueError: if the video has no frames, or start is not one of them.
    """
    _check_video(video_frames)
    if not 0 <= start < video_frames:
        raise ValueError(f"start {start} is not a frame of a video of {video_frames} frames")
    span = clip_span(frames_per_clip, frame_stride)
    inside = list(range(start, min(start + span, video_frames), frame_stride))
    firsts = inside + [inside[-1]] * (frames_per_clip - len(inside))
    return in_stacks(firsts, stack, video_frames)


def in_stacks(firsts: list[int], stack: int, video_frames: int) -> list[int]:
    """So many frames in a row from each of these; past the video's end, its last frame."""
    if stack == 1:
        return firsts
    return [min(first + k, video_frames - 1) for first in firsts for k in range(stack)]


def latest_start(video_frames: int, span: int) -> int:
    """The last start from which a clip of this span stays in the video; 0 if the clip is the longer one.

    Raises:
        ValueError: if the video has no frames, or the span none.
    """
    _check_video(video_frames)
    if span < 1:
        raise ValueError(f"a clip spans at least 1 frame, not {span}")
    return max(0, video_frames - span)


def random_start(video_frames: int, span: int, rng: np.random.Generator) -> int:
    """A start drawn evenly from 0 to the latest."""
    return int(rng.integers(latest_start(video_frames, span) + 1))


def middle_start(video_frames: int, span: int) -> int:
    """The start that leaves as much of the video before the clip as behind it."""
    return latest_start(video_frames, span) // 2


def even_starts(video_frames: int, span: int, clips: int) -> list[int]:
    """Evenly spaced starts, the first at 0 and the last at the latest; a single one is the middle.

    Raises:
        ValueError: if clips is below 1.
    """
    if clips < 1:
        raise ValueError(f"a video is judged by at least 1 clip, not {clips}")
    if clips == 1:
        return [middle_start(video_frames, span)]
    latest, gaps = latest_start(video_frames, span), clips - 1
    return [(2 * clip * latest + gaps) // (2 * gaps) for clip in range(clips)]


def sliding_starts(video_frames: int, span: int, window_stride: int) -> list[int]:
    """Starts every `window_stride` frames, and the latest one, so that the video's end is seen.

    Raises:
        ValueError: if window_stride is below 1.
    """
    if window_stride < 1:
        raise ValueError(f"windows slide by at least 1 frame, not {window_stride}")
    latest = latest_start(video_frames, span)
    starts = list(range(0, latest + 1, window_stride))
    return starts if starts[-1] == latest else [*starts, latest]


def _check_video(video_frames: int) -> None:
    if video_frames < 1:
        raise ValueError(f"a video of {video_frames} frames has no clips")
