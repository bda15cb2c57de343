"""Row ``agreement``: whether a network says the same of a picture that was moved."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.evaluate.bootstrap import bootstrap
from fpan_training.evaluate.quality.network import Image, Matrix, Network, parse
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import RowResult, figures_of
from fpan_training.evaluate.quality.row import Subject

SHIFT = 0.15
"""In sides of the face's frame, which is the whole picture here."""
ROLL_DEG = 30.0
_WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1))
_NAMES = ("mirror", "shift", "roll")


@dataclass(frozen=True)
class Agreement:
    """Share of the pixels on which the label maps of a picture and of the same picture moved agree.

    The network runs once on each. The moved picture has the size of the other and is black where that one has nothing
    (by the service's convention); its logits are sampled where the other's pixels lie, as the service does it, so that
    no label map is resampled. Counted are pixels of the other picture that the moved one shows, where at least one of
    both says something else than background; sums go over all pictures.
    """

    name: ClassVar[str] = "agreement"
    definition: ClassVar[int] = 1
    pictures: PictureSet

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        counts = []
        for number, sample in enumerate(self.pictures.tracked(self.name)):
            matrices = _matrices(number, sample.image.shape[1], sample.image.shape[0])
            labels = parse(subject.network, sample.image).labels
            counts.append([_agreeing(subject.network, sample.image, labels, name, matrices[name]) for name in _NAMES])
        total = np.array(counts, np.int64)
        subject.draw(self.name, self.pictures, (1 - total[:, 2, 0] / np.maximum(total[:, 2, 1], 1)).tolist())
        return self.pictures.result(self.definition, figures_of(_shares(total.sum(0)), bootstrap(total, _shares)))


def _matrices(number: int, width: int, height: int) -> dict[str, Matrix]:
    """From the picture to the moved ones. Pictures take turns with the four ways to shift and the two to roll."""
    x, y = _WAYS[number % len(_WAYS)]
    roll = ROLL_DEG if number % 2 else -ROLL_DEG
    return {
        "mirror": np.array([[-1.0, 0, width - 1], [0, 1, 0]]),
        "shift": np.array([[1.0, 0, x * round(SHIFT * width)], [0, 1, y * round(SHIFT * height)]]),
        "roll": np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), roll, 1), np.float64),
    }


def _agreeing(network: Network, image: Image, labels: NDArray[np.uint8], name: str, matrix: Matrix) -> tuple[int, int]:
    """Pixels that agree, and those that are counted."""
    height, width = labels.shape
    moved = np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)
    found = parse(network, moved).labels_in(matrix, (height, width))
    if name == "mirror":
        found = network.taxonomy.partner_table[found]
    ys, xs = np.mgrid[:height, :width]
    at_x, at_y = (row[0] * xs + row[1] * ys + row[2] for row in matrix)
    shown = (at_x >= -0.5) & (at_x <= width - 0.5) & (at_y >= -0.5) & (at_y <= height - 0.5)
    counted = shown & _foreground(labels, found, network.taxonomy)
    return int(np.count_nonzero(counted & (labels == found))), int(np.count_nonzero(counted))


def _foreground(one: NDArray[np.uint8], other: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    return np.asarray((one != taxonomy.background) | (other != taxonomy.background))


def _shares(counts: NDArray[np.int64]) -> dict[str, float]:
    agreeing, counted = counts.T.astype(float)
    with np.errstate(invalid="ignore"):
        return {name: float(share) for name, share in zip(_NAMES, agreeing / counted, strict=True)}
