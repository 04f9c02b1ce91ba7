"""How each digit of Video-MNIST moves through its 30 frames of 28 x 28 pixels.

Ras et al., Temporal Factorization of 3D Convolutional Kernels (2019), table 1, with the peculiarities of the
script that made the published set, so that its videos come out again: they are marked "as published".
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

FRAMES = 30
SIDE = 28
_STEP = 360 // FRAMES  # degrees a frame
_SMOOTH = Image.Resampling.BILINEAR

Draws = tuple[int, ...]


def make_video(digit_image: np.ndarray, label: int, rng: np.random.RandomState) -> np.ndarray:
    """The digit (28, 28) uint8 in its class's motion: (30, 28, 28) uint8, black around it."""
    return render(digit_image, label, draw_motion(label, rng))


def draw_motion(label: int, rng: np.random.RandomState) -> Draws:
    """What is random in a class's motion, drawn in the published order; nothing for 2, 3, 4, 6 and 8."""
    if label in (0, 1, 7):
        direction = 1 if rng.randint(2) else -1
        return direction, rng.randint(2) + 1
    if label == 5:
        return rng.randint(2), rng.randint(4, SIDE // 2 - 1)
    if label == 9:
        return tuple(rng.randint(-1, 2) for _ in range(3 * (FRAMES - 1)))
    return ()


def render(digit_image: np.ndarray, label: int, draws: Draws) -> np.ndarray:
    """The video that a digit and its draws give: (30, 28, 28) uint8."""
    digit = Image.fromarray(np.ascontiguousarray(digit_image, dtype=np.uint8))
    frames = _MOTIONS[label](digit, draws)
    return np.stack([np.asarray(frame) for frame in frames])


def bounce(direction: int, velocity: int) -> list[int]:
    """Offsets in pixels from the middle, turning before they leave -13 ... 13.

    As published, the digit gets faster by 1 pixel a frame at every turn.
    """
    offset, offsets = 0, []
    for _ in range(FRAMES):
        offsets.append(offset)
        if abs(offset + direction * velocity) > SIDE // 2 - 1:
            direction, velocity = -direction, velocity + 1
        offset += direction * velocity
    return offsets


def _sideways(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    return [_placed(digit, x, 0) for x in bounce(*draws)]


def _up_and_down(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    return [_placed(digit, 0, y) for y in bounce(*draws)]


def _shrink_and_grow(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    sides = [*range(SIDE, 0, -2), *range(2, SIDE + 1, 2)]
    frames = [_placed(_resized(digit, side), *_centred(side)) for side in sides]
    # as published: the frame of 30 pixels is cut to 26 and put in the corner, the last one stays blank
    large = _resized(digit, SIDE + 2).crop((1, 1, SIDE - 1, SIDE - 1))
    return [*frames, _placed(large, 0, 0), _blank()]


def _clockwise(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    return [_rotated(digit, -_STEP * k) for k in range(FRAMES)]


def _counter_clockwise(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    return [_rotated(digit, _STEP * k) for k in range(FRAMES)]


def _circle(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    direction, radius = draws
    # as published: multiples of 12 taken for radians, so that a frame turns by -32.45 degrees
    angles = [_STEP * k for k in range(FRAMES)]
    places = [(round(radius * math.cos(a)), round(radius * math.sin(a))) for a in angles]
    return [_placed(digit, x, y) for x, y in (places if direction else places[::-1])]


def _grow_clockwise(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    turned = enumerate(_clockwise(digit, draws))
    # as published: the first frame, of one pixel, is placed as if it had none
    return [_placed(_resized(frame, max(2 * k, 1)), *_centred(2 * k)) for k, frame in turned]


def _sideways_counter_clockwise(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    turned = _counter_clockwise(digit, draws)
    return [_placed(frame, x, 0) for frame, x in zip(turned, bounce(*draws), strict=True)]


def _there_and_back(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    angles = [2 * _STEP * k for k in range(FRAMES // 2)]
    return [_rotated(digit, -a) for a in angles] + [_rotated(digit, a) for a in angles]


def _wander(digit: Image.Image, draws: Draws) -> list[Image.Image]:
    # all turns are drawn before the walk, which goes x, y, x, y ...; as published, nothing bounds it
    steps = np.array(draws)
    turns, walk = steps[: FRAMES - 1], steps[FRAMES - 1 :].reshape(-1, 2)
    angles = [0, *(_STEP * np.cumsum(turns)).tolist()]
    places = [[0, 0], *np.cumsum(walk, axis=0).tolist()]
    return [_placed(_rotated(digit, a), x, y) for a, (x, y) in zip(angles, places, strict=True)]


_MOTIONS: tuple[Callable[[Image.Image, Draws], list[Image.Image]], ...] = (
    _sideways,
    _up_and_down,
    _shrink_and_grow,
    _clockwise,
    _counter_clockwise,
    _circle,
    _grow_clockwise,
    _sideways_counter_clockwise,
    _there_and_back,
    _wander,
)


def _blank() -> Image.Image:
    return Image.new("L", (SIDE, SIDE))


def _placed(picture: Image.Image, x: int, y: int) -> Image.Image:
    """The picture with its corner at (x, y) of a black frame; what stands over is lost."""
    frame = _blank()
    frame.paste(picture, (x, y))
    return frame


def _centred(side: int) -> tuple[int, int]:
    return (SIDE - side) // 2, (SIDE - side) // 2


def _resized(picture: Image.Image, side: int) -> Image.Image:
    return picture.resize((side, side), _SMOOTH)


def _rotated(picture: Image.Image, degrees: int) -> Image.Image:
    """Counter-clockwise where degrees are positive."""
    return picture.rotate(degrees, _SMOOTH)
