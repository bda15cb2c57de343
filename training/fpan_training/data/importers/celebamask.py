"""CelebAMask-HQ (Lee et al., MaskGAN, CVPR 2020) as published: a PNG for each part of each picture.

``CelebA-HQ-img/N.jpg`` is 1024 x 1024, ``CelebAMask-HQ-mask-anno/N // 2000/NNNNN_part.png`` 512 x 512, white where the
part is. The parts are painted one over the other in the order of the published ``g_mask.py``, which is that of our
ids. Pictures are shrunk to the masks' size: what enlarging masks would add is not in them.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, decode_rgb
from fpan_training.data.importers.sides import own_sides
from fpan_training.data.importers.source import Item, opened
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

_IMAGES, _MASKS, _MAPPING = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno", "CelebA-HQ-to-CelebA-mapping.txt"
_PER_FOLDER = 2000
_DIGITS = 5
_FIRST_VAL, _FIRST_TEST = 162_771, 182_638
"""CelebA's own partition by its picture numbers, as the published ``g_partition.py`` has it."""
_WHITE = 128
"""Values of a part's PNG from here on are the part."""


class CelebAMask:
    """The published folder, or any part of it that has both pictures and masks."""

    labels = "celeba19"
    problems: Sequence[str] = ()

    def __init__(self, root: Path) -> None:
        """Raises DataError if it is not the published folder."""
        self.root = root
        for folder in (_IMAGES, _MASKS):
            if not (root / folder).is_dir():
                raise DataError(f"{root} has no {folder}: give the folder CelebAMask-HQ as it was unpacked")
        self._split = _read_mapping(root / _MAPPING)

    def keys(self) -> Sequence[str]:
        """Numbers of the pictures, in order."""
        return sorted((path.stem for path in (self.root / _IMAGES).glob("*.jpg") if path.stem.isdigit()), key=int)

    def read(self, key: str) -> Item:
        """A picture with its parts painted; left and right exchanged where they are wrong for an upright face."""
        number = int(key)
        folder = self.root / _MASKS / str(number // _PER_FOLDER)
        labels: NDArray[np.uint8] | None = None
        for c in TAXONOMY.classes[1:CELEBA19_CLASSES]:
            path = folder / f"{number:0{_DIGITS}}_{c.name}.png"
            if path.is_file():
                part = _read_part(path)
                if labels is None:
                    labels = np.zeros(part.shape, np.uint8)
                if part.shape != labels.shape:
                    raise DataError(f"{path.name} has another size than the parts before it")
                labels[part] = c.id
        if labels is None:
            raise DataError(f"no {folder.name}/{number:0{_DIGITS}}_*.png")
        labels, exchanged = own_sides(labels)
        path = self.root / _IMAGES / f"{key}.jpg"
        image = decode_rgb(path.read_bytes(), str(path))
        image = np.asarray(cv2.resize(image, labels.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        note = "had left and right exchanged" if exchanged else ""
        return Item(f"{number:0{_DIGITS}}", image, labels, self._split.get(number), note)


def _read_part(path: Path) -> NDArray[np.bool_]:
    # They are RGB, grey in truth.
    with opened(path.read_bytes(), path.name) as image:
        return np.asarray(image.convert("L"), np.uint8) >= _WHITE


def _read_mapping(path: Path) -> dict[int, str]:
    """CelebA's split of each picture; empty without the file: lines of number in CelebA-HQ, number in CelebA, name."""
    if not path.is_file():
        return {}
    splits = {}
    lines = [line for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    for line in lines:
        try:
            number, original = (int(word) for word in line.split()[:2])
        except ValueError as error:
            raise DataError(f"{path} has the line {line!r}, which does not begin with two numbers") from error
        splits[number] = "train" if original < _FIRST_VAL else "val" if original < _FIRST_TEST else "test"
    return splits
