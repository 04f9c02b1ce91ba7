"""A feed of frames from a thread of its own: reading goes on while the one who takes them works."""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator

from timelift.data.live import LiveFrame


class Feed:
    """Frames in order. Of a slow taker either the reader waits, or the oldest frame that waits is dropped."""

    def __init__(
        self, frames: Generator[LiveFrame, None, None], drop: bool, paced: bool = False, room: int = 8
    ):
        """Begin to read.

        drop: whether frames are dropped where `room` of them wait. paced: no frame comes before its seconds
        have passed, as from a camera.
        """
        self.dropped = 0
        self._frames, self._drop, self._paced, self._room = frames, drop, paced, room
        self._waiting: deque[LiveFrame] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: Exception | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __iter__(self) -> Iterator[LiveFrame]:
        """The frames, until there are no more; what the reading raised is raised behind the last."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                frame = self._waiting.popleft()
                self._changed.notify_all()
            yield frame
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._reader.join(timeout=5.0)

    def _read(self) -> None:
        start = time.monotonic()
        try:
            for frame in self._frames:
                if self._paced:
                    time.sleep(max(0.0, start + frame.seconds - time.monotonic()))
                if not self._put(frame):
                    break
            self._frames.close()  # the file or the camera, by the thread that opened it
        except Exception as error:  # the taker's to know
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _put(self, frame: LiveFrame) -> bool:
        """Whether more are wanted."""
        with self._changed:
            if not self._drop:
                self._changed.wait_for(lambda: len(self._waiting) < self._room or self._closed)
            elif len(self._waiting) == self._room:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(frame)
            self._changed.notify_all()
            return not self._closed
