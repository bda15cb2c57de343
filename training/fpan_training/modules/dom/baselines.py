"""What DOM is compared with: fillings of a known mask. All are given the true mask, which DOM is not."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

Filling = Callable[[Image, Mask], Image]
"""A picture, RGB uint8 (H, W, 3), and what is covered, bool (H, W), to the picture without it."""

INPAINT_RADIUS = 3
"""Of OpenCV's inpainting, in pixels: the value of its documentation's examples."""
_MARGIN = 1
"""An occluder's soft edge reaches this far out of its mask, in pixels: without it, its colour would be spread."""
_RING = 4
"""Width in pixels of the surroundings whose mean is the local filling."""


@dataclass(frozen=True)
class MeanFace:
    """The mean of the training faces."""

    mean: Image

    def __call__(self, image: Image, mask: Mask) -> Image:
        """Copies the mean face's pixels."""
        return np.where(mask[..., None], self.mean, image)


def local_mean(image: Image, mask: Mask) -> Image:
    """Fills with the mean colour of a ring about the mask."""
    near, far = grown(mask, _MARGIN), grown(mask, _MARGIN + _RING)
    ring = far & ~near
    colour = image[ring if ring.any() else ~mask].mean(0) if not mask.all() else np.full(3, 127.0)
    return np.where(mask[..., None], np.rint(colour).astype(np.uint8), image)


def telea(image: Image, mask: Mask) -> Image:
    """OpenCV's inpainting after Telea (2004)."""
    return _inpaint(image, mask, cv2.INPAINT_TELEA)


def navier_stokes(image: Image, mask: Mask) -> Image:
    """OpenCV's inpainting after Bertalmio et al. (2001)."""
    return _inpaint(image, mask, cv2.INPAINT_NS)


def grown(mask: Mask, pixels: int) -> Mask:
    """The mask and what is within so many pixels of it."""
    side = 2 * pixels + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)


def _inpaint(image: Image, mask: Mask, how: int) -> Image:
    hole = grown(mask, _MARGIN).astype(np.uint8)
    return np.asarray(cv2.inpaint(image, hole, INPAINT_RADIUS, how), np.uint8)
