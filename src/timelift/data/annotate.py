"""Text on a picture."""

from collections.abc import Sequence

import cv2
import numpy as np

_SHARE = 16  # a line takes this part of the picture's height
_SMALLEST = 10  # pixels, below which nobody reads


def annotated(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 with lines of text, of any script, on its darkened lower edge."""
    out = np.array(picture, order="C")
    if not lines:
        return out
    height = max(_SMALLEST, out.shape[0] // _SHARE)
    top = out.shape[0] - height * len(lines) - height // 2
    out[max(0, top) :] = out[max(0, top) :] // 3
    for number, line in enumerate(lines, start=1):
        place = (height // 2, top + number * height)
        cv2.putText(out, line, place, (255, 255, 255), cv2.FontFace("sans"), height * 3 // 4)  # type: ignore[call-overload]
    return out
