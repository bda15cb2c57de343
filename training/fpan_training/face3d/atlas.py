"""The layout of UV maps: the face over the full width, and beneath it a strip of slots.

Mirroring a UV map turns the face round and swaps the eyes; slots that are not symmetric stay where they are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACE_SHARE = 0.86
"""Of the map's height: face, ears and the front of the neck."""


@dataclass(frozen=True)
class Slot:
    """A rectangle of the map, in shares of its side."""

    left: float
    width: float
    top: float = FACE_SHARE
    height: float = 1 - FACE_SHARE
    symmetric: bool = False
    """Whether mirroring the map mirrors it too."""


SLOTS = {
    "r_eye": Slot(0.0, 0.14, symmetric=True),
    "gums": Slot(0.2, 0.14),
    "back": Slot(0.4, 0.2),
    "teeth": Slot(0.66, 0.14),
    "l_eye": Slot(0.86, 0.14, symmetric=True),
}
"""The back of the head holds the shoulders and the sockets of mouth and eyes as well."""


def mirror(values: NDArray[Any]) -> NDArray[Any]:
    """A mirrored map: (S, S, ...) to the same. Class ids are not exchanged."""
    size = values.shape[0]
    out = values[:, ::-1].copy()
    for slot in SLOTS.values():
        if not slot.symmetric:
            rows = slice(round(slot.top * size), size)
            columns = slice(int(np.floor(slot.left * size)), int(np.ceil((slot.left + slot.width) * size)))
            out[rows, columns] = values[rows, columns]
    return out
