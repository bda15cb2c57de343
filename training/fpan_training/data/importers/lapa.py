"""LaPa (Liu et al., AAAI 2020) and label maps like it: ``train|val|test/images/NAME.jpg`` and ``labels/NAME.png``."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from fpan_training.data.folder import DataError, read_labels
from fpan_training.data.importers.sides import means_own_left
from fpan_training.data.importers.source import Item
from fpan_training.data.label_space import PRESETS, Labels

LEFT_RIGHT = ((2, 3), (4, 5))
"""Values that the data set calls left and right: brows and eyes."""
_LOOKED_AT = 64
"""Masks by which it is told whose left is meant."""
_SPLITS = ("train", "val", "test")


class LaPa:
    """The published folder; or one folder of ``images/`` and ``labels/`` with values 0 to 10."""

    def __init__(self, root: Path) -> None:
        """Raises DataError if there are no pictures."""
        self._folders: dict[str | None, Path] = {split: root / split for split in _SPLITS if (root / split).is_dir()}
        if not self._folders:
            self._folders = {None: root}
        self._images = {
            f"{split or ''}/{path.name}": (split, path)
            for split, folder in self._folders.items()
            for path in sorted((folder / "images").glob("*"))
        }
        if not self._images:
            raise DataError(f"{root} has no images/, nor train/images/, val/images/, test/images/")
        self.labels = labels_by_side("lapa", [self._mask(key) for key in self._images])

    def keys(self) -> Sequence[str]:
        """Split and file name, in order."""
        return list(self._images)

    def read(self, key: str) -> Item:
        """A picture with its mask, the values as they are."""
        split, path = self._images[key]
        return Item(path.stem, path.read_bytes(), read_labels(self._mask(key)), split)

    def _mask(self, key: str) -> Path:
        _, path = self._images[key]
        return path.parent.parent / "labels" / f"{path.stem}.png"


def labels_by_side(preset: str, masks: Sequence[Path]) -> str | Labels:
    """The preset, or the same with sides exchanged where most pictures say that the person's own left is meant."""
    step = max(1, len(masks) // _LOOKED_AT)
    some = islice((read_labels(path) for path in masks[::step] if path.is_file()), _LOOKED_AT)
    return sided(preset, means_own_left(some, LEFT_RIGHT))


def sided(preset: str, own: bool) -> str | Labels:
    """A preset whose left is the picture's; with ``own``, what it is if left is the person's."""
    if not own:
        return preset
    labels = dict(PRESETS[preset])
    for left, right in LEFT_RIGHT:
        labels[str(left)], labels[str(right)] = labels[str(right)], labels[str(left)]
    return labels
