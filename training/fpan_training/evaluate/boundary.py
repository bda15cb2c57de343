"""Boundary F1: whether the outlines of the parts lie where they should, to a few pixels."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.bootstrap import Interval, bootstrap
from fpan_training.evaluate.confusion import mean_of_known

TOLERANCE = 3 / 512
"""How far an outline may be off, in picture widths: 3 pixels of 512."""
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass
class BoundaryCounts:
    """For each picture and class: outline pixels of prediction and truth, and how many have the other's nearby.

    The edge of the picture is no outline. Outline pixels where the truth is unknown are left out.
    """

    classes: int
    ignore: int = 255
    tolerance: float = TOLERANCE
    counts: list[NDArray[np.int64]] = field(default_factory=list)
    """One a picture, int (classes, 4): predicted, of those right, true, of those found."""

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Counts a picture: two label maps, uint8 (H, W).

        Raises:
            ValueError: the shapes differ.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction is {predicted.shape}")
        near = self.tolerance * truth.shape[1]
        known = truth != self.ignore
        counts = np.zeros((self.classes, 4), np.int64)
        for i in np.union1d(np.unique(truth), np.unique(predicted)):
            if i < self.classes:
                true, guess = (outline(labels == i) & known for labels in (truth, predicted))
                counts[i] = guess.sum(), _near(guess, true, near), true.sum(), _near(true, guess, near)
        self.counts.append(counts)

    def f1(self) -> NDArray[np.float64]:
        """By class, float (classes,), from the sums over pictures; NaN for a class that has no outline anywhere."""
        return _f1(np.sum(self.counts, axis=0))

    def mean_f1(self, background: int = 0) -> float:
        """Mean over the classes of the foreground."""
        return mean_of_known(np.delete(self.f1(), background))

    def interval(self, background: int = 0) -> Interval:
        """95 % bootstrap interval of :meth:`mean_f1` over pictures."""
        figures = bootstrap(
            np.array(self.counts), lambda total: {"f1": mean_of_known(np.delete(_f1(total), background))}
        )
        return figures["f1"]


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask, bool (H, W), that have a neighbour outside of it; beyond the picture lies more of the same."""
    inner = cv2.erode(mask.astype(np.uint8), _CROSS)
    return np.asarray(mask & (inner == 0))


def _near(these: NDArray[np.bool_], those: NDArray[np.bool_], distance: float) -> int:
    """How many of these pixels have one of those within ``distance``."""
    if not these.any() or not those.any():
        return 0
    away = cv2.distanceTransform((~those).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return int((away[these] <= distance).sum())


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    predicted, right, true, found = counts.T.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, right / predicted, 0.0)
        recall = np.where(true > 0, found / true, 0.0)
        both = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    return np.where(predicted + true > 0, both, np.nan)
