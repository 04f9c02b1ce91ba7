"""Optical flow as pixels: two uint8 channels, u to the right and v downwards, in steps about a middle of 128.

A step is bound / 127 pixels of motion, so no motion is exactly 128 and a mirrored vector exactly as long.
Fields are (..., H, W, 2). What moves the frame moves its vectors, too: the laws are here.
"""

import cv2
import numpy as np

CHANNELS = 2  # u, v; frames of so many channels are flow, everywhere
ZERO = 128  # the pixel of no motion
STEPS = 127  # on each side of it


def quantised(flow: np.ndarray, bound: float) -> np.ndarray:
    """Displacements in pixels as uint8, longer ones cut at +-bound: within half a step of what came."""
    return _pixels(flow * (STEPS / bound))


def displacements(fields: np.ndarray, bound: float) -> np.ndarray:
    """What `quantised` kept, in pixels, float32 within +-bound."""
    return _steps(fields) * np.float32(bound / STEPS)


def resized_flow(field: np.ndarray, width: int, height: int) -> np.ndarray:
    """One field (H, W, 2) at (height, width, 2), u scaled as the width is and v as the height.

    The bound stays: vectors that become longer than it are cut.
    """
    if field.shape[:2] == (height, width):
        return field
    how = cv2.INTER_AREA if width <= field.shape[1] else cv2.INTER_LINEAR
    scaled = cv2.resize(_steps(field), (width, height), interpolation=how).reshape(height, width, CHANNELS)
    return _pixels(scaled * np.array([width / field.shape[1], height / field.shape[0]], np.float32))


def mirrored(fields: np.ndarray) -> np.ndarray:
    """The fields of horizontally flipped frames: flipped, and u with the other sign."""
    return _pixels(_steps(fields[..., ::-1, :]) * np.array([-1, 1], np.float32))


def turned(fields: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Every vector under the linear part (2x2) of a motion of the frame; the pixels stay in their places."""
    return _pixels(_steps(fields) @ linear.T.astype(np.float32))


def without_mean(fields: np.ndarray) -> np.ndarray:
    """Each field less its mean vector: a rough camera's motion (Simonyan and Zisserman 2014)."""
    steps = _steps(fields)
    return _pixels(steps - steps.mean(axis=(-3, -2), keepdims=True))


def stacked(clip: np.ndarray, stack: int) -> np.ndarray:
    """(..., T * stack, H, W, C) -> (..., T, H, W, C * stack): u, v of the first field, of the second ..."""
    if stack == 1:
        return clip
    *before, frames, height, width, channels = clip.shape
    parted = clip.reshape(*before, frames // stack, stack, height, width, channels)
    return np.moveaxis(parted, -4, -2).reshape(*before, frames // stack, height, width, stack * channels)


def _steps(fields: np.ndarray) -> np.ndarray:
    """Signed steps, float32; JPEG may give a 0, which no vector has."""
    return np.maximum(fields.astype(np.float32) - ZERO, -STEPS)


def _pixels(steps: np.ndarray) -> np.ndarray:
    return (np.clip(np.rint(steps), -STEPS, STEPS) + ZERO).astype(np.uint8)
