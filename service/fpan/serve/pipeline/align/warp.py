"""Pictures moved by affine maps, with all channels at once: OpenCV takes less than half the time for four that it takes
for three, and gives the same pixels.
"""

import cv2
import numpy as np
from numpy.typing import NDArray


def prepared(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture that :func:`warp` takes, uint8 (H, W, 4), of RGB, uint8 (H, W, 3)."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)


def warp(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], size: tuple[int, int], outside: int
) -> NDArray[np.uint8]:
    """What lies at places of a picture, interpolated linearly.

    Args:
        picture: what :func:`prepared` has made.
        to_picture: from pixels of the answer to those of the picture, integers = pixel centres.
        size: width and height of the answer in pixels.
        outside: grey level of what lies outside of the picture.

    Returns:
        RGB, uint8 (height, width, 3).
    """
    moved = cv2.warpAffine(
        picture,
        to_picture,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(outside,) * 4,
    )
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)
