"""Expected calibration error: whether a network that says 0.9 is right nine times in ten (Guo et al. 2017)."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.bootstrap import Interval, bootstrap

BINS = 15
"""Bins of confidence, as in Guo et al."""
_UNITS = 255
"""Confidences are summed in these units, as whole numbers: as finely as the served network tells them."""


@dataclass
class Calibration:
    """For each picture and bin of confidence: pixels, right ones, summed confidence."""

    ignore: int = 255
    counts: list[NDArray[np.int64]] = field(default_factory=list)
    """One a picture, int (BINS, 3); confidence in units of 1 / 255."""

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], confidence: NDArray[np.float32]) -> None:
        """Counts a picture: two label maps, uint8 (H, W), and the probability of the predicted label, float (H, W)."""
        known = truth != self.ignore
        sure = confidence[known]
        bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
        right = (truth == predicted)[known]
        sums = [np.bincount(bins, w, BINS) for w in (None, right, np.rint(sure * _UNITS))]
        self.counts.append(np.stack(sums, 1).astype(np.int64))

    def error(self) -> float:
        """The expected calibration error: mean over pixels of |share that is right - confidence| of their bin."""
        return _error(np.sum(self.counts, axis=0))

    def interval(self) -> Interval:
        """Its 95 % bootstrap interval over pictures."""
        return bootstrap(np.array(self.counts), lambda total: {"error": _error(total)})["error"]


def _error(counts: NDArray[np.int64]) -> float:
    pixels, right, confidence = counts.T.astype(float)
    return float(np.abs(right - confidence / _UNITS).sum() / pixels.sum()) if pixels.sum() else float("nan")
