"""A part of a long video, given in seconds, as frames: index arithmetic on the times of its frames."""

import dataclasses
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

from timelift.data.facts import Facts

Part = tuple[float, float]  # seconds from (with) and to (without); (0, 0) is the whole video

_SAME = 1e-6  # seconds


def frame_seconds(
    times: Sequence[int | None], time_base: Fraction | None, facts: Facts
) -> list[float] | None:
    """Seconds of every frame from the first one's: by timestamps if these increase, else by the rate.

    times: in units of the time base, in the order in which frames decode. None: neither is known.
    """
    if facts.timestamps_increasing and time_base is not None:
        return [float((time - times[0]) * time_base) for time in times]  # type: ignore[operator]
    if facts.fps > 0:
        return [index / facts.fps for index in range(len(times))]
    return None


def frames_within(seconds: Sequence[float], start: float, end: float) -> tuple[int, int]:
    """(the first frame at `start` or later, how many stand before `end`); an `end` of 0 is the video's.

    seconds=[0, 0.5, 1, 1.5, 2], start=0.5, end=1.5: (1, 2).
    """
    first = bisect_left(seconds, start - _SAME)
    behind = bisect_left(seconds, end - _SAME) if end else len(seconds)
    return first, max(0, behind - first)


def part_of(whole: Facts, seconds: list[float] | None, part: Part) -> Facts:
    """What a part holds, from what its file holds; a damaged file leaves all of its parts damaged."""
    start, end = part
    if not (start or end) or whole.status == "unreadable":
        return whole
    asked = f"{start:g} s to {f'{end:g} s' if end else 'the end'}"
    if seconds is None:
        why = f"the part from {asked} cannot be found: its frames have no times"
        return dataclasses.replace(whole, status="unreadable", frames=0, declared_frames=0, reason=why)
    first, frames = frames_within(seconds, start, end)
    length = seconds[-1] + (1 / whole.fps if whole.fps else 0)
    found = dataclasses.replace(whole, first_frame=first, frames=frames, declared_frames=0, frame_hashes="")
    if frames == 0:
        why = f"no frame from {asked}: the video lasts {length:.1f} s"
        return dataclasses.replace(found, status="unreadable", reason=why)
    if end > length + 0.5:
        why = f"{asked} were asked for, the video lasts {length:.1f} s"
        return dataclasses.replace(
            found, status="short" if whole.status == "ok" else whole.status, reason=why
        )
    if whole.status == "short" and end:  # what it lacks is behind this part
        return dataclasses.replace(found, status="ok", reason="")
    return found
