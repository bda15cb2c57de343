"""Shapes of labelling tools as masks. Coordinates are those of COCO, LabelMe and CVAT: pixel (x, y) is the square from
(x, y) to (x + 1, y + 1), and is inside a polygon where its centre is.
"""

from collections.abc import Sequence

import numpy as np
from fpan import rle
from numpy.typing import NDArray
from pycocotools import mask as coco

from fpan_training.data.folder import DataError

Mask = NDArray[np.bool_]
_CORNERS = 3
_CIRCLE = 72
"""Corners of what stands for a circle or an ellipse."""
_REACH = 10
"""How far outside a picture a corner may lie, in sizes of the picture: farther, the file is broken."""


def polygons(rings: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """The union of polygons, bool (H, W), by COCO's own rasteriser.

    Args:
        rings: x0, y0, x1, y1, ... of each. A ring that runs to a hole and back encloses it without its inside.
        size: height and width.

    Raises:
        DataError: fewer than three corners, or corners that are no numbers or far outside.
    """
    for ring in rings:
        if len(ring) < 2 * _CORNERS or len(ring) % 2:
            raise DataError(f"a polygon of {len(ring) / 2:g} corners encloses nothing")
        if not np.isfinite(ring).all() or np.abs(ring).max() > _REACH * max(size):
            raise DataError(f"a polygon's corner lies far outside of the picture of {size[1]} x {size[0]}")
    if not rings:
        return np.zeros(size, np.bool_)
    runs = coco.merge(coco.frPyObjects([list(ring) for ring in rings], *size))
    # Not ``coco.decode``, whose arrays numpy 2 warns of.
    return rle.decode(runs["counts"].decode("ascii"), size)


def rectangle(x0: float, y0: float, x1: float, y1: float, size: tuple[int, int]) -> Mask:
    """A box by two opposite corners, bool (H, W)."""
    return polygons([[x0, y0, x1, y0, x1, y1, x0, y1]], size)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], size: tuple[int, int]) -> Mask:
    """An ellipse of upright axes, bool (H, W)."""
    angles = np.arange(_CIRCLE) * 2 * np.pi / _CIRCLE
    points = np.array(centre) + np.column_stack([np.cos(angles), np.sin(angles)]) * radii
    return polygons([points.ravel().tolist()], size)


def coco_rle(counts: str | Sequence[int], size: tuple[int, int]) -> Mask:
    """COCO's run lengths, compressed or as numbers, bool (H, W).

    Raises:
        DataError: they do not add up to the picture.
    """
    try:
        text = counts if isinstance(counts, str) else rle.compress(np.array(counts, np.int64))
        return rle.decode(text, size)
    except (ValueError, OverflowError) as error:
        raise DataError(f"broken run lengths: {error}") from error


def row_rle(counts: Sequence[int], box: tuple[int, int, int, int], size: tuple[int, int]) -> Mask:
    """CVAT's run lengths, row by row within a box of left, top, width and height, the first outside; bool (H, W).

    Raises:
        DataError: they do not add up to the box, or it lies outside of the picture.
    """
    left, top, width, height = box
    if min(counts, default=0) < 0 or max(counts, default=0) > width * height or sum(counts) != width * height:
        raise DataError(f"broken run lengths: they do not add up to {width} x {height} pixels")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return place(inside, left, top, size)


def place(inside: Mask, left: int, top: int, size: tuple[int, int]) -> Mask:
    """A small mask at its place in a picture, bool (H, W); DataError if it lies outside."""
    height, width = inside.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise DataError(f"a mask of {width} x {height} at {left}, {top} does not lie in {size[1]} x {size[0]}")
    mask = np.zeros(size, np.bool_)
    mask[top : top + height, left : left + width] = inside
    return mask
