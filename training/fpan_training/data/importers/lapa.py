"""LaPa (Liu et al., AAAI 2020) and label maps like it: ``train|val|test/images/NAME.jpg`` and ``labels/NAME.png``."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, list_pictures, read_labels
from fpan_training.data.importers.files import is_hidden
from fpan_training.data.importers.sides import means_own_left, readable
from fpan_training.data.importers.source import Item
from fpan_training.data.label_space import PRESETS, Labels

LEFT_RIGHT = ((2, 3), (4, 5))
"""Values that the data set calls left and right: brows and eyes."""
_LOOKED_AT = 64
"""Masks by which it is told whose left is meant."""
_SPLITS = ("train", "val", "test")


class LaPa:
    """The published folder; or one folder of ``images/`` and ``labels/`` with values 0 to 10."""

    problems: Sequence[str] = ()

    def __init__(self, root: Path) -> None:
        """Raises DataError if there are no pictures."""
        self._folders: dict[str | None, Path] = {split: root / split for split in _SPLITS if (root / split).is_dir()}
        if not self._folders:
            self._folders = {None: root}
        self._images = {
            f"{split or ''}/{path.name}": (split, path)
            for split, folder in self._folders.items()
            for path in list_pictures(folder)
            if not is_hidden(path.name)
        }
        if not self._images:
            raise DataError(f"{root} has no images/, nor train/images/, val/images/, test/images/")
        some = list(self._images)[:: max(1, len(self._images) // _LOOKED_AT)]
        own = means_own_left(islice(readable(self._mask, some), _LOOKED_AT), LEFT_RIGHT)
        self.labels = sided("lapa", own)

    def keys(self) -> Sequence[str]:
        """Split and file name, in order."""
        return list(self._images)

    def read(self, key: str) -> Item:
        """A picture with its mask, the values as they are."""
        split, path = self._images[key]
        return Item(path.stem, path.read_bytes(), self._mask(key), split)

    def _mask(self, key: str) -> NDArray[np.uint8]:
        _, path = self._images[key]
        mask = path.parent.parent / "labels" / f"{path.stem}.png"
        if not mask.is_file():
            raise DataError(f"there is no labels/{mask.name}")
        return read_labels(mask)


def sided(preset: str, own: bool, pairs: Sequence[tuple[int, int]] = LEFT_RIGHT) -> str | Labels:
    """A preset whose left is the picture's; with ``own``, what it is if left is the person's.

    Args:
        preset: its name.
        own: whether the data set's left is the person's.
        pairs: values that it calls left and right.
    """
    if not own:
        return preset
    labels = dict(PRESETS[preset])
    for left, right in pairs:
        labels[str(left)], labels[str(right)] = labels[str(right)], labels[str(left)]
    return labels
