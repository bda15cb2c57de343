"""Faces with their landmarks, coloured by whether they are visible."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.landmarks import SCHEME

_ZOOM = 3
_VISIBLE, _COVERED = np.array((0, 230, 90)), np.array((255, 30, 60))
"""RGB of a probability of 1 and of 0."""
_LINE = (255, 255, 255)
_SUBPIXEL_BITS = 4

Image = NDArray[np.uint8]


def draw_landmarks(
    image: Image, points: NDArray[np.float32], visibility: NDArray[np.float32], zoom: int = _ZOOM
) -> Image:
    """The picture ``zoom`` times enlarged, with contours and landmarks from green (visible) to red (covered).

    Args:
        image: RGB uint8 (H, W, 3).
        points: float32 (264, 2) in its pixels.
        visibility: float32 (264,), 0 to 1.
        zoom: whole factor.
    """
    large = np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC), np.uint8)
    at = np.rint(((points + 0.5) * zoom - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    for contour in SCHEME.contours:
        cv2.polylines(large, [at[contour.points]], contour.closed, _LINE, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    radius = zoom * 2 ** (_SUBPIXEL_BITS - 1)
    for place, seen in zip(at.tolist(), visibility.tolist(), strict=True):
        colour = _COVERED + (_VISIBLE - _COVERED) * seen
        cv2.circle(large, place, radius, colour.tolist(), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return large
