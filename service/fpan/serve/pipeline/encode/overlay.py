"""The picture with its parts tinted and outlined."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract import Taxonomy
from fpan.serve.pipeline.encode.plain import png

_TINT = 0.5
"""Share of the part's colour in a tinted pixel."""
_BORDER_OF_SIDE = 1 / 800
"""Width of a border as a share of the picture's shorter side: a pixel on a small picture, several on a large one."""


def overlay_png(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], taxonomy: Taxonomy, *, tint: float = _TINT
) -> bytes:
    """A truecolour PNG of the picture: parts tinted half transparently, outlined in their full colour.

    Args:
        pixels: RGB, uint8 (H, W, 3).
        labels: uint8 (H, W); the background and ``ignore`` stay untouched.
        taxonomy: Of the labels.
        tint: Share of the part's colour, 0 to 1.
    """
    shown = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    parts = np.full(256, 255, np.uint8)
    parts[[taxonomy.background, taxonomy.ignore]] = 0
    x, y, width, height = cv2.boundingRect(cv2.LUT(labels, parts))
    if width and height:
        thickness = _thickness(labels)
        # The rim shows the outermost parts that they have a neighbour.
        window = np.s_[max(y - thickness, 0) : y + height + thickness, max(x - thickness, 0) : x + width + thickness]
        shown[window] = _tinted(shown[window], labels[window], parts, taxonomy.palette, tint, thickness)
    return png(shown)


def _tinted(
    bgr: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    parts: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    tint: float,
    thickness: int,
) -> NDArray[np.uint8]:
    colour = cv2.LUT(cv2.merge([labels] * 3), palette[None, :, ::-1])
    inside = cv2.LUT(labels, parts)
    blend = np.asarray(cv2.addWeighted(bgr, 1 - tint, colour, tint, 0), np.uint8)
    # A border lies inside its part: where the label of some neighbour differs.
    around = np.ones((2 * thickness + 1,) * 2, np.uint8)
    differs = cv2.compare(cv2.dilate(labels, around), cv2.erode(labels, around), cv2.CMP_NE)
    shown = cv2.copyTo(blend, inside, bgr.copy())
    return np.asarray(cv2.copyTo(colour, cv2.bitwise_and(differs, inside), shown), np.uint8)


def _thickness(labels: NDArray[np.uint8]) -> int:
    """Of a border in pixels."""
    shorter: int = min(labels.shape)
    return max(1, round(shorter * _BORDER_OF_SIDE))
