"""Whose left: data sets mean the person's or the picture's, and some pictures of a set have it wrong."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.taxonomy import TAXONOMY

Labels = NDArray[np.uint8]
_PAIRS = tuple((c.id, c.partner) for c in TAXONOMY.classes if c.name.startswith("l_") and c.partner != c.id)
"""The person's own left and right of each part."""
_NOSE = TAXONOMY.id_of("nose")


def own_sides(labels: Labels) -> tuple[Labels, bool]:
    """Our ids with left and right as the person's own, and whether they had to be exchanged; for upright faces.

    In an upright picture of a face the person's left is to the right of their right. Where no part shows both of its
    sides, a part is of the side of the nose that it lies on: of a head in profile one sees the side that is turned to
    the camera.
    """
    columns = {int(i): float(np.nonzero(labels == i)[1].mean()) for i in np.unique(labels)}
    votes = [columns[left] - columns[right] for left, right in _PAIRS if left in columns and right in columns]
    if not votes and _NOSE in columns:
        votes = [
            sign * (columns[i] - columns[_NOSE])
            for left, right in _PAIRS
            for i, sign in ((left, 1), (right, -1))
            if i in columns
        ]
    if np.sign(votes).sum() >= 0:
        return labels, False
    return TAXONOMY.partner_table[labels], True


def means_own_left(masks: Iterable[Labels], pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether the values that a data set calls left are the person's own left, by what most of its pictures show.

    Args:
        masks: some of its masks.
        pairs: values that it calls left and right.
    """
    return sum(votes_own_left(mask, pairs) for mask in masks) > 0


def votes_own_left(mask: Labels, pairs: Sequence[tuple[int, int]]) -> int:
    """Of how many pairs of values that are called left and right the left one is the person's own, less those of which
    it is the picture's; for upright faces. Pairs of which one is not seen, and those that lie above each other, say
    nothing.
    """
    votes = 0
    for left, right in pairs:
        places = [np.argwhere(mask == value) for value in (left, right)]
        if all(len(place) for place in places):
            down, across = places[0].mean(0) - places[1].mean(0)
            votes += int(np.sign(across)) if abs(across) > abs(down) else 0
    return votes


def readable(read: Callable[[str], Labels], names: Iterable[str]) -> Iterator[Labels]:
    """The masks that can be read; what is wrong with the others is said when their pictures are imported."""
    for name in names:
        try:
            yield read(name)
        except (DataError, ValueError):
            continue
