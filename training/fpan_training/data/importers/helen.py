"""Helen with the labels of Smith et al. (CVPR 2013): eleven classes, each a grey PNG of its probability.

``images/NAME.jpg``, ``labels/NAME/NAME_lbl00.png`` to ``_lbl10.png``, and the lists ``exemplars.txt`` (train),
``tuning.txt`` (val), ``testing.txt`` (test). Label maps with values 0 to 10, ``labels/NAME.png``, are read as well.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, list_pictures, read_labels
from fpan_training.data.importers.files import is_hidden
from fpan_training.data.importers.lapa import LEFT_RIGHT, sided
from fpan_training.data.importers.sides import means_own_left, readable
from fpan_training.data.importers.source import Item

_LISTS = {"exemplars.txt": "train", "tuning.txt": "val", "testing.txt": "test"}
_CLASSES = 11
_LOOKED_AT = 64
"""Pictures by which it is told whose left is meant."""


class Helen:
    """The published folder."""

    problems: Sequence[str] = ()

    def __init__(self, root: Path) -> None:
        """Raises DataError if there are no pictures."""
        self._labels = root / "labels"
        self._splits = {name: split for file, split in _LISTS.items() for name in _read_list(root / file)}
        self._images = {path.stem: path for path in list_pictures(root) if not is_hidden(path.name)}
        if not self._images:
            raise DataError(f"{root}/images has no pictures")
        names = list(self._images)[:: max(1, len(self._images) // _LOOKED_AT)]
        self.labels = sided("helen", means_own_left(islice(readable(self._map, names), _LOOKED_AT), LEFT_RIGHT))

    def keys(self) -> Sequence[str]:
        """Names of the pictures, in order."""
        return list(self._images)

    def read(self, key: str) -> Item:
        """A picture with its mask: at each pixel the likeliest class."""
        return Item(key, self._images[key].read_bytes(), self._map(key), self._splits.get(key))

    def _map(self, name: str) -> NDArray[np.uint8]:
        if self._whole(name).is_file():
            return read_labels(self._whole(name))
        paths = [self._part(name, number) for number in range(_CLASSES)]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise DataError(f"there is no labels/{name}.png, and in labels/{name}/ no {', '.join(missing)}")
        parts = [read_labels(path) for path in paths]
        if len({part.shape for part in parts}) > 1:
            raise DataError(f"the PNGs of labels/{name}/ differ in size")
        return np.asarray(np.stack(parts).argmax(0), np.uint8)

    def _whole(self, name: str) -> Path:
        return self._labels / f"{name}.png"

    def _part(self, name: str, number: int) -> Path:
        return self._labels / name / f"{name}_lbl{number:02}.png"


def _read_list(path: Path) -> list[str]:
    """Lines of a number, a comma and a name."""
    if not path.is_file():
        return []
    words = (line.rpartition(",")[2].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [word for word in words if word]
