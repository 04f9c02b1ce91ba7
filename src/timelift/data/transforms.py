"""What happens to a clip's pixels: uint8 frames (T, H, W, C) in, square clips (T, size, size, C) out.

A transform is drawn once a clip and is the same for all its frames. Frames of two channels are optical flow,
and their vectors go with the picture (`flow_vectors`).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from timelift.data import flow_vectors
from timelift.records import Augmentation, ClipFormat

Matrix = tuple[float, float, float, float, float, float]  # row-major 2x3, source pixel to output pixel


@dataclass(frozen=True)
class Square:
    """A square of source pixels."""

    top: int
    left: int
    side: int


@dataclass(frozen=True)
class Drawn:
    """One clip's transform: the square is cut out and resized, then flipped, moved, put in order."""

    square: Square
    size: int
    flip: bool
    matrix: Matrix | None  # None: no affine motion
    order: tuple[int, ...] | None  # None: time's own
    colours: tuple[float, ...] | None = None  # along each principal colour, smallest first; None: no shift
    stack: int = 1  # fields that become one frame


def readied(frames: np.ndarray, clip_format: ClipFormat) -> np.ndarray:
    """The whole frames, before a crop: of flow, less their mean vectors if the clip format says so."""
    return flow_vectors.without_mean(frames) if clip_format.subtract_mean_flow else frames


def unmoved(clip_format: ClipFormat, frame_size: tuple[int, int]) -> Drawn:
    """The centre crop and nothing else: what `draw` gives where nothing is drawn, without its generator."""
    square = _placed_square(frame_size, clip_format.size, 0.5, 0.5)
    return Drawn(square, clip_format.size, flip=False, matrix=None, order=None, stack=clip_format.stack)


def draw(
    augmentation: Augmentation,
    clip_format: ClipFormat,
    rng: np.random.Generator,
    frame_size: tuple[int, int],
) -> Drawn:
    """A transform for one clip of frames of (height, width) pixels.

    The draws are the same in number whatever is switched on: switching the flip off leaves the crops.
    """
    share, down, right, flip, *motion = rng.random(9)
    order = tuple(rng.permutation(clip_format.frames).tolist())
    colours = tuple((augmentation.pca_noise * rng.standard_normal(clip_format.channels)).tolist())
    if augmentation.random_crop:
        square = _random_square(augmentation.crop_scale, (share, down, right), frame_size)
    else:
        square = _placed_square(frame_size, clip_format.size, 0.5, 0.5)
    return Drawn(
        square=square,
        size=clip_format.size,
        flip=bool(flip < augmentation.flip),
        matrix=_motion(augmentation, clip_format.size, motion),
        order=order if augmentation.shuffle_frames else None,
        colours=colours if augmentation.pca_noise else None,
        stack=clip_format.stack,
    )


def apply(drawn: Drawn, frames: np.ndarray) -> np.ndarray:
    """The drawn transform on frames (T, H, W, C) uint8: (T, size, size, C) uint8, contiguous.

    A stack of L comes as T * L frames and leaves as T of L times the channels.
    """
    clip = resized_square(frames, drawn.square, drawn.size)
    if drawn.flip:
        clip = _flipped(clip)
    if drawn.matrix is not None:
        clip = _moved(clip, drawn.matrix)
    clip = flow_vectors.stacked(clip, drawn.stack)
    if drawn.order is not None:
        clip = clip[list(drawn.order)]
    if drawn.colours is not None:
        clip = _recoloured(clip, drawn.colours)
    return np.ascontiguousarray(clip)


def centre_crop(frames: np.ndarray, size: int) -> np.ndarray:
    """The square of `size` pixels in the middle: (T, H, W, C) -> (T, size, size, C).

    Frames with a side below `size` are scaled up, here and in the other crops.
    """
    return _crops(frames, size, ((0.5, 0.5),))[0]


def three_crops(frames: np.ndarray, size: int) -> np.ndarray:
    """First, middle and last square along the longer side: (T, H, W, C) -> (3, T, size, size, C)."""
    height, width = frames.shape[1:3]
    along = (0.0, 0.5, 1.0)
    places = [(place, 0.5) if height > width else (0.5, place) for place in along]
    return _crops(frames, size, places)


def ten_crops(frames: np.ndarray, size: int) -> np.ndarray:
    """Four corners and the centre, then these flipped: (T, H, W, C) -> (10, T, size, size, C)."""
    corners = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
    five = _crops(frames, size, (*corners, (0.5, 0.5)))
    return np.concatenate([five, flow_vectors.mirrored(five) if _is_flow(five) else five[:, :, :, ::-1]])


def resized_square(frames: np.ndarray, square: Square, size: int) -> np.ndarray:
    """A square of every frame at `size` pixels: a view where it has that size already."""
    rows = slice(square.top, square.top + square.side)
    columns = slice(square.left, square.left + square.side)
    cut = frames[:, rows, columns]
    if square.side == size:
        return cut
    if _is_flow(cut):
        return np.stack([flow_vectors.resized_flow(field, size, size) for field in cut])
    interpolation = cv2.INTER_AREA if square.side > size else cv2.INTER_LINEAR
    clip = np.empty((len(frames), size, size, frames.shape[3]), np.uint8)
    for frame, out in zip(cut, clip, strict=True):
        out[...] = cv2.resize(frame, (size, size), interpolation=interpolation).reshape(out.shape)
    return clip


def _is_flow(frames: np.ndarray) -> bool:
    return frames.shape[-1] == flow_vectors.CHANNELS


def _flipped(clip: np.ndarray) -> np.ndarray:
    if _is_flow(clip):
        return flow_vectors.mirrored(clip)
    return np.stack([cv2.flip(frame, 1).reshape(frame.shape) for frame in clip])


def _crops(frames: np.ndarray, size: int, places) -> np.ndarray:
    squares = [_placed_square(frames.shape[1:3], size, down, right) for down, right in places]
    return np.stack([resized_square(frames, square, size) for square in squares])


def _placed_square(frame_size: tuple[int, ...], size: int, down: float, right: float) -> Square:
    """`size` pixels, or the whole short side where that is less; 0 is top or left, 1 bottom or right."""
    height, width = frame_size
    side = min(size, height, width)
    return Square(top=int(down * (height - side)), left=int(right * (width - side)), side=side)


def _random_square(
    crop_scale: tuple[float, float], uniform: tuple[float, float, float], frame_size: tuple[int, int]
) -> Square:
    height, width = frame_size
    share, down, right = uniform
    low, high = crop_scale
    side = round(math.sqrt(low + share * (high - low)) * min(height, width))
    side = min(max(side, 1), height, width)
    return Square(top=int(down * (height - side + 1)), left=int(right * (width - side + 1)), side=side)


def _motion(augmentation: Augmentation, size: int, uniform: list[float]) -> Matrix | None:
    reach = (
        math.radians(augmentation.rotate_degrees),
        augmentation.translate * size,
        augmentation.translate * size,
        augmentation.scale,
        math.radians(augmentation.shear_degrees),
    )
    if not any(reach):
        return None
    angle, right, down, zoom, shear = ((2 * u - 1) * most for u, most in zip(uniform, reach, strict=True))
    return _matrix(angle, right, down, zoom=1 + zoom, shear=shear, size=size)


def _matrix(angle: float, right: float, down: float, *, zoom: float, shear: float, size: int) -> Matrix:
    """Shear, rotation (clockwise, radians) and scale about the clip's centre, then the shift in pixels."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = zoom * turn @ np.array([[1.0, math.tan(shear)], [0.0, 1.0]])
    centre = np.full(2, (size - 1) / 2)
    offset = centre + np.array([right, down]) - linear @ centre
    return tuple(np.column_stack([linear, offset]).ravel().tolist())


def _moved(clip: np.ndarray, matrix: Matrix) -> np.ndarray:
    size = clip.shape[1]
    beside = (flow_vectors.ZERO,) * 4 if _is_flow(clip) else (0,) * 4  # what comes in from outside: black
    moved = np.empty(clip.shape, np.uint8)
    for frame, out in zip(clip, moved, strict=True):
        source = np.ascontiguousarray(frame)
        warped = cv2.warpAffine(
            source, np.array(matrix).reshape(2, 3), (size, size), flags=cv2.INTER_LINEAR, borderValue=beside
        )
        out[...] = warped.reshape(out.shape)
    return flow_vectors.turned(moved, np.array(matrix).reshape(2, 3)[:, :2]) if _is_flow(clip) else moved


def _recoloured(clip: np.ndarray, amounts: tuple[float, ...]) -> np.ndarray:
    """All pixels shifted by one colour: each principal colour of the clip, by its amount times its variance.

    Variances are those of pixels on the 0..1 scale, as Krizhevsky et al. 2012 took them over ImageNet.
    """
    pixels = clip.reshape(-1, clip.shape[-1]) / 255.0
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(pixels, rowvar=False, bias=True)))
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(np.take_along_axis(directions, largest[None], axis=0))  # eigh's signs are arbitrary
    shift = directions @ (np.array(amounts) * variances)  # (C,)
    return np.clip(np.rint(clip + 255 * shift), 0, 255).astype(np.uint8)
