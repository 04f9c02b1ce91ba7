"""Videos of a pattern that glides: class right by +2 pixels a frame, class left by -2."""

from pathlib import Path

import cv2
import numpy as np

from timelift.data.encode import encode_grey


def gliding(dx: int, dy: int, seed: int, frames: int = 2, height: int = 48, width: int = 56) -> np.ndarray:
    """(T, H, W) uint8: smooth noise that moves by (dx, dy) pixels a frame, nothing at rest."""
    reach = 8 + frames * max(abs(dx), abs(dy))
    size = (height + 2 * reach, width + 2 * reach)
    noise = np.random.default_rng(seed).random(size, dtype=np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    pattern = smooth.astype(np.uint8)
    places = [(reach - t * dy, reach - t * dx) for t in range(frames)]
    return np.stack([pattern[down : down + height, right : right + width] for down, right in places])


def write_gliding(root: Path, per_class: int = 2, frames: int = 6) -> Path:
    """root/{train,test}/{left,right}/*.mkv."""
    for s, split in enumerate(("train", "test")):
        for label, dx in (("left", -2), ("right", 2)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for i in range(per_class):
                video = gliding(dx, 0, 100 * s + 10 * i + (dx > 0), frames)
                (folder / f"clip {i}.mkv").write_bytes(encode_grey(video, 25))
    return root
