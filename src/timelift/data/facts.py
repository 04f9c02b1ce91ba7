"""What decoding a video once tells about it, and how that is judged."""

from dataclasses import dataclass, field
from itertools import pairwise

from timelift.records.video import Status


@dataclass(frozen=True)
class Facts:
    """What decoding a video once tells; all but `errors` are fields of `records.Video`."""

    status: Status
    frames: int = 0  # decoded
    declared_frames: int = 0  # as the container says; 0 when it does not
    width: int = 0  # after rotation, pixels
    height: int = 0
    fps: float = 0.0
    rotation: int = 0  # degrees clockwise that were applied
    timestamps_increasing: bool = True
    errors: int = 0  # packets that do not decode or are cut off, and frames that the decoder calls corrupt
    reason: str = ""  # why the status is not ok
    first_frame: int = 0  # of a part of a long video
    frame_hashes: str = ""  # perceptual, of the first, middle and last frame


@dataclass
class Faults:
    """What went wrong while decoding, in words, in order."""

    words: list[str] = field(default_factory=list)

    def add(self, fault: str) -> None:
        """Note one more."""
        self.words.append(fault)


def judge(frames: int, declared: int, missing: str, faults: Faults) -> tuple[Status, str]:
    """Status and reason of a video of which at least one frame decodes; `missing` says what its end lacks."""
    if faults.words:
        of = f" of {declared}" if declared else ""
        count = len(faults.words)
        return "damaged", f"{count} decoder error(s), {frames}{of} frames decode: {faults.words[0]}"
    if frames < declared:
        return "short", f"{frames} frames decode, the container declares {declared}"
    return ("short", missing) if missing and not declared else ("ok", "")


def increasing(times: list[int | None]) -> bool:
    """Whether every frame has a timestamp, later than the frame's before."""
    return None not in times and all(a < b for a, b in pairwise(times))  # type: ignore[operator]
