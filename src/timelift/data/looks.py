"""What a video looks like, in three short numbers: equal ones belong to copies of it, however encoded."""

from collections.abc import Callable

import numpy as np

THUMBNAIL = (9, 8)  # width and height in pixels
_MOST = 64  # hashes kept until the video ends: its length is not known before


class Looks:
    """Hashes of a video's frames while it is decoded; of long ones, of evenly spaced frames."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._every = 1
        self._kept: list[int] = []
        self._frames = 0
        self._last: Callable[[], np.ndarray] | None = None

    def add(self, thumbnail: Callable[[], np.ndarray]) -> None:
        """One more frame; thumbnail gives its grey pixels (8, 9) if they are needed."""
        if self._frames % self._every == 0:
            self._kept.append(difference_hash(thumbnail()))
        self._frames += 1
        self._last = thumbnail
        if len(self._kept) > _MOST:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def words(self) -> str:
        """Hashes of the first, the middle (within a 32nd of the length) and the last frame; "" for none."""
        if self._last is None:
            return ""
        middle = self._kept[self._frames // 2 // self._every]
        three = (self._kept[0], middle, difference_hash(self._last()))
        return "-".join(f"{one:016x}" for one in three)


def difference_hash(thumbnail: np.ndarray) -> int:
    """64 bits of grey pixels (8, 9): whether each is brighter than its left neighbour."""
    bits = np.packbits(thumbnail[:, 1:] > thumbnail[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def says_nothing(frame_hashes: str) -> bool:
    """Whether all three frames are of one colour each, or none was hashed: then equal hashes mean nothing."""
    return not frame_hashes.strip("0-")
