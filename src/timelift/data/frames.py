"""Where a clip's frames come from: an interface, and the plainest source, decoding when asked."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from timelift.data import jpeg_frames
from timelift.data.decode import decode_frames
from timelift.records import ClipFormat, Manifest, Video


class FrameSource(Protocol):
    """Frames of a video by their indices, in any order, repeats allowed."""

    def frames(self, video: Video, indices: list[int]) -> np.ndarray:
        """(T, H, W, C) uint8, T = len(indices)."""
        ...


@dataclass(frozen=True)
class DecodedOnDemand:
    """Decodes the file whenever frames are asked for; pixels are those of a cache of the same format."""

    manifest: Manifest
    clip_format: ClipFormat

    def frames(self, video: Video, indices: list[int]) -> np.ndarray:
        """(T, H, W, C) uint8.

        Raises:
            DataError: if the file cannot be read, or lacks one of the frames.
        """
        frames = decode_frames(
            self.manifest.full_path(video),
            [video.first_frame + index for index in indices],
            short_side=self.clip_format.short_side,
            channels=self.clip_format.channels,
        )
        return jpeg_frames.through(frames) if self.clip_format.cache == "jpeg" else frames
