"""What a teacher network thinks of each pixel of a picture, kept small: its two most probable classes.

A map is uint8 (h, w, 3): the most probable class, the second, and the probability of the first in 255ths; what is left
of it is the second's. Probability 0 means that nothing is known. On faces more than 99 % of the probability lies on two
classes, and a map moves with its picture like labels do.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.data.folder import DataError
from fpan_training.files import write_whole

Soft = NDArray[np.uint8]
CERTAIN = 255


@dataclass(frozen=True)
class SoftLabelStore:
    """A folder of maps, ``NAME.png`` each."""

    folder: Path

    def path(self, name: str) -> Path:
        """Where the map of a picture is kept."""
        return self.folder / f"{name}.png"

    def get(self, name: str) -> Soft | None:
        """The map of a picture, uint8 (h, w, 3); None where there is none.

        Raises:
            DataError: the file is there and not readable.
        """
        path = self.path(name)
        if not path.is_file():
            return None
        soft = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if soft is None or soft.ndim != 3 or soft.shape[2] != 3:
            raise DataError(f"{path} is no map of soft labels: delete it and run `fpan-train soft-labels` again")
        return np.asarray(soft, np.uint8)

    def put(self, name: str, soft: Soft) -> None:
        """Writes a map, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(name), cv2.imencode(".png", soft)[1].tobytes())


def soft_of(probabilities_chw: NDArray[np.float32]) -> Soft:
    """The map of class probabilities, float32 (C, h, w), that sum to 1."""
    two = np.argsort(-probabilities_chw, axis=0)[:2]
    first = np.take_along_axis(probabilities_chw, two[:1], 0)[0]
    return np.dstack([two[0], two[1], np.rint(first * CERTAIN).clip(1, CERTAIN)]).astype(np.uint8)


def mirror_soft(soft: Soft, taxonomy: Taxonomy) -> Soft:
    """The map of the mirrored picture: columns reversed, left and right exchanged."""
    mirrored = np.ascontiguousarray(soft[:, ::-1])
    mirrored[..., :2] = taxonomy.partner_table[mirrored[..., :2]]
    return mirrored


def warp_soft(soft: Soft, matrix: NDArray[np.float64], width: int, size: int) -> Soft:
    """Moves a map with its picture: uint8 (size, size, 3), nothing known outside of it.

    Args:
        soft: uint8 (h, w, 3), of the whole picture at any resolution.
        matrix: float64 (2, 3), from the picture's pixels to the target's.
        width: of the picture in pixels.
        size: side of the target in pixels.
    """
    factor = width / soft.shape[1]
    onto = np.column_stack([matrix[:, :2] * factor, matrix[:, 2] + matrix[:, :2] @ np.full(2, 0.5 * factor - 0.5)])
    return np.asarray(
        cv2.warpAffine(soft, onto, (size, size), flags=cv2.INTER_NEAREST, borderValue=(0, 0, 0)), np.uint8
    )


def overwrite(soft: Soft, where: NDArray[np.bool_], labels: NDArray[np.uint8]) -> Soft:
    """The same with what ``labels``, uint8 (h, w), says for certain at some pixels, bool (h, w)."""
    certain = np.dstack([labels, labels, np.full_like(labels, CERTAIN)])
    return np.where(where[..., None], certain, soft)
