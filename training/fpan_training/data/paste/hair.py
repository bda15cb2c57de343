"""Hair beneath a hat: what would stick out above its edge is taken away."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.paste.anchors import Head

Image = NDArray[np.uint8]
_COLUMNS = 96
"""Strips across the head in which the hat's upper edge is looked for."""
_MOST = 0.35
"""Largest area of hair that is taken away, in areas of the hat: more looks like a hole."""
_GAP = 0.03
"""Largest area of background between hat and head, in the same: a hat that is too large shows it."""
_INNER = 0.42
"""Share of a hat's width, to both sides of its middle, beneath which that is looked for."""
_COARSE = 4
"""Pixels of a place on the grid on which the background is spread."""
_WINDOWS = ((5, 1.0), (13, 0.03), (31, 0.001))
"""Of that grid, places over which colours are averaged, and what these averages weigh: far ones count where there are
none near."""
_LEAST = 1e-5
"""Weight of background from which on a colour is told from it."""
_FRINGE = np.ones((5, 5), np.uint8)
"""Single hairs beside what is labelled hair."""


def cover_hair(image: Image, labels: Image, hat: NDArray[np.bool_], head: Head) -> tuple[Image, Image] | None:
    """The picture and its labels without the hair above the lower edge of a hat that is to be put on.

    What comes in its place is the background beside it, blurred. None where that cannot be told, or too much hair would
    go.

    Args:
        image: RGB, uint8 (H, W, 3); not changed.
        labels: class ids, uint8 (H, W); not changed.
        hat: where the hat will be, bool (H, W).
        head: whose head it is.
    """
    rows, columns = np.nonzero(hat)
    if rows.size == 0:
        return None
    worn = head.place(np.column_stack([columns, rows]).astype(np.float64))
    low, high = float(worn[:, 0].min()), float(worn[:, 0].max())

    def strips(x: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.asarray(((x - low) / max(high - low, 1e-6) * (_COLUMNS - 1)).round().clip(0, _COLUMNS - 1), np.int64)

    top, bottom = np.full(_COLUMNS, np.inf), np.full(_COLUMNS, -np.inf)
    np.minimum.at(top, strips(worn[:, 0]), worn[:, 1])
    np.maximum.at(bottom, strips(worn[:, 0]), worn[:, 1])
    lowest = float(np.quantile(worn[:, 1], 0.97))
    # Between the hat and the face there is hair, or the face; where the background shows, the hat is not on the head.
    outside = _places(labels == head.taxonomy.background, head)
    strip = strips(outside[:, 0])
    between = (np.abs(outside[:, 0] - (low + high) / 2) < _INNER * (high - low)) & (outside[:, 1] > bottom[strip])
    if np.count_nonzero(between & (outside[:, 1] < lowest)) > _GAP * rows.size:
        return None
    hair = (labels == head.taxonomy.id_of("hair")) & ~hat
    at = _places(hair, head)
    # Above the hat, or beside it and higher than where it ends.
    beside = (at[:, 0] < low) | (at[:, 0] > high)
    above = np.where(
        beside, at[:, 1] < np.where(at[:, 0] < low, bottom[0], bottom[-1]), at[:, 1] < top[strips(at[:, 0])]
    )
    gone = np.zeros(hair.shape, np.uint8)
    gone[hair] = above
    count = int(np.count_nonzero(gone))
    if count == 0:
        return image, labels
    if count > _MOST * rows.size:
        return None
    background = labels == head.taxonomy.background
    gone = cv2.dilate(gone, _FRINGE) & (background | gone.view(np.bool_)).view(np.uint8)
    filled = _spread(image, background & (gone == 0), gone.view(np.bool_))
    if filled is None:
        return None
    alpha = cv2.blur(gone.astype(np.float32), (3, 3))[..., None]
    out = labels.copy()
    out[gone.view(np.bool_)] = head.taxonomy.background
    return np.asarray(image * (1 - alpha) + filled * alpha + 0.5, np.uint8), out


def _places(mask: NDArray[np.bool_], head: Head) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask)
    return head.place(np.column_stack([columns, rows]).astype(np.float64))


def _spread(image: Image, known: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Colours of the known pixels carried on to the wanted ones, float32 (H, W, 3); None where none is near."""
    height, width = known.shape
    size = (max(1, width // _COARSE), max(1, height // _COARSE))
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(image.astype(np.float32) * known[..., None], size, interpolation=cv2.INTER_AREA)
    total = sum(factor * cv2.blur(colour, (window, window)) for window, factor in _WINDOWS)
    share = sum(factor * cv2.blur(weight, (window, window)) for window, factor in _WINDOWS)
    small = cv2.resize(wanted.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).view(np.bool_)
    if small.any() and float(share[small].min()) < _LEAST:
        return None
    filled = np.asarray(total, np.float32) / np.maximum(share, _LEAST)[..., None]
    return np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
