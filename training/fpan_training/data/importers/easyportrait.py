"""EasyPortrait (Kvanchiani et al., arXiv 2304.13509, version 2 of 2023) as published.

``images/train|val|test/NAME.jpg`` and ``annotations/train|val|test/NAME.png``, of photos as of video calls. Values 0 to
8: background, person, skin, left brow, right brow, left eye, right eye, lips, teeth. The faces are not aligned.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import IMAGE_ENDINGS, DataError, read_labels
from fpan_training.data.importers.files import is_hidden
from fpan_training.data.importers.lapa import sided
from fpan_training.data.importers.sides import means_own_left, readable, votes_own_left
from fpan_training.data.importers.source import SPLITS, Item

LEFT_RIGHT = ((3, 4), (5, 6))
"""Values that the data set calls left and right: brows and eyes."""
IMAGES, MASKS = "images", "annotations"
_LOOKED_AT = 64
"""Masks by which it is told whose left is meant."""


class EasyPortrait:
    """The published folder, or any of its splits."""

    problems: Sequence[str] = ()

    def __init__(self, root: Path) -> None:
        """Raises DataError if it is not the published folder."""
        self._masks = root / MASKS
        for folder in (root / IMAGES, self._masks):
            if not folder.is_dir():
                raise DataError(f"{root} has no {folder.name}/: give the folder in which EasyPortrait was unpacked")
        self._images = {
            f"{split}/{path.stem}": path
            for split in SPLITS
            for path in sorted((root / IMAGES / split).glob("*"))
            if path.suffix.lower() in IMAGE_ENDINGS and not is_hidden(path.name)
        }
        if not self._images:
            raise DataError(f"{root}/{IMAGES} has no pictures in {', '.join(SPLITS)}")
        some = list(self._images)[:: max(1, len(self._images) // _LOOKED_AT)]
        self._own = means_own_left(islice(readable(self._mask, some), _LOOKED_AT), LEFT_RIGHT)
        self.labels = sided("easyportrait", self._own, LEFT_RIGHT)

    def keys(self) -> Sequence[str]:
        """Split and name, in order."""
        return list(self._images)

    def read(self, key: str) -> Item:
        """A picture with its mask; left and right exchanged where they are the other way round than in the others."""
        mask, note = self._mask(key), ""
        votes = votes_own_left(mask, LEFT_RIGHT)
        if votes and (votes > 0) != self._own:
            mask, note = _exchanged(mask), "had left and right exchanged"
        return Item(self._images[key].stem, self._images[key].read_bytes(), mask, key.partition("/")[0], note)

    def _mask(self, key: str) -> NDArray[np.uint8]:
        path = self._masks / f"{key}.png"
        if not path.is_file():
            raise DataError(f"there is no {MASKS}/{key}.png")
        return read_labels(path)


def _exchanged(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    for left, right in LEFT_RIGHT:
        table[[left, right]] = right, left
    return table[mask]
