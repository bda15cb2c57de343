"""How opaque the pixels of a labelled thing are: labels are drawn around chains and hoops, with skin in between."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_SAME, _OTHER = 10.0, 38.0
"""Difference of a pixel's colour from what is around the thing, in levels, up to which it is that, and from which on it
is the thing."""
_FEW = 0.02
"""Share of a window that a class fills at least for its colour to be compared with."""
_FAINT = 0.25
"""Alpha from which on a pixel belongs to a piece."""
_SPECK = 0.1
"""Size of pieces that are taken away, in sizes of the largest."""
_KERNEL = np.ones((3, 3), np.uint8)


def contrast_alpha(image: Image, labels: Image, mask: Mask, reach: int) -> NDArray[np.float32]:
    """Alpha of 0 to 1, float32 (H, W): within the mask, by how much each pixel differs from what is around it.

    A pixel is compared with the mean colour of each class that is near: where one of them is like it, it is taken for
    that.

    Args:
        image: RGB, uint8 (H, W, 3).
        labels: class ids, uint8 (H, W).
        mask: the thing.
        reach: how far around the thing its surroundings are looked at, in pixels.
    """
    # Only the part of the picture that plays a role.
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    near_y, near_x = (
        slice(max(0, low - 2 * reach), low + size + 2 * reach) for low, size in ((top, height), (left, width))
    )
    out = np.zeros(mask.shape, np.float32)
    image, labels, mask = image[near_y, near_x], labels[near_y, near_x], np.ascontiguousarray(mask[near_y, near_x])
    outside = ~cv2.dilate(mask.view(np.uint8), _KERNEL).view(np.bool_)
    window = (2 * reach + 1, 2 * reach + 1)
    rgb = image.astype(np.float32)
    least = np.full(mask.shape, np.inf, np.float32)
    for value in np.unique(labels[cv2.dilate(mask.view(np.uint8), np.ones(window, np.uint8)).view(np.bool_)]):
        near = (outside & (labels == value)).astype(np.float32)
        share = cv2.blur(near, window, borderType=cv2.BORDER_CONSTANT)
        total = cv2.blur(rgb * near[..., None], window, borderType=cv2.BORDER_CONSTANT)
        mean = total / np.maximum(share, 1e-6)[..., None]
        difference = np.abs(rgb - mean).max(-1)
        least = np.where(share > _FEW, np.minimum(least, difference), least)
    alpha = ((least - _SAME) / (_OTHER - _SAME)).clip(0, 1) * mask
    # What shines in the middle of a bead is the bead's.
    closed = cv2.morphologyEx(alpha.astype(np.float32), cv2.MORPH_CLOSE, _KERNEL)
    out[near_y, near_x] = _without_specks(np.asarray(closed, np.float32))
    return out


def _without_specks(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Alpha without pieces that are much smaller than the largest."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats((alpha > _FAINT).view(np.uint8), connectivity=8)
    if count > 1:
        sizes = stats[:, cv2.CC_STAT_AREA].copy()
        sizes[0] = 0
        keep = sizes >= _SPECK * sizes.max()
        alpha = alpha * keep[numbers]
    return alpha


def edge_sharpness(image: Image, mask: Mask) -> float:
    """Mean of the steepest change of brightness about the mask's edge, in levels a pixel."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8))
    steepest = cv2.dilate(slope, np.ones((5, 5), np.uint8))
    area = mask.view(np.uint8)
    edge = (area - cv2.erode(area, _KERNEL)).view(np.bool_)
    return float(steepest[edge].mean()) if edge.any() else 0.0


def touches_border(mask: Mask, margin: int = 2) -> tuple[bool, bool, bool, bool]:
    """Whether a mask reaches the picture's top, bottom, left and right."""
    return (
        bool(mask[:margin].any()),
        bool(mask[-margin:].any()),
        bool(mask[:, :margin].any()),
        bool(mask[:, -margin:].any()),
    )


def pieces(mask: Mask, gap: int) -> list[Mask]:
    """The mask's parts that lie more than ``gap`` pixels apart, the largest first, bool (H, W) each."""
    near = cv2.dilate(mask.view(np.uint8), np.ones((gap + 1, gap + 1), np.uint8))
    count, numbers = cv2.connectedComponents(near)
    parts = [mask & (numbers == number) for number in range(1, count)]
    return sorted((part for part in parts if part.any()), key=lambda part: -int(part.sum()))
