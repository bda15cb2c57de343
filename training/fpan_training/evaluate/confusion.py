"""Confusion matrices and what follows from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.bootstrap import BOOTSTRAP_ROUNDS, Interval, bootstrap


class Scores(NamedTuple):
    """Figures of one summed confusion matrix. A class that neither truth nor prediction has is NaN, and left out."""

    iou: NDArray[np.float64]
    """By class, float (C,)."""
    f1: NDArray[np.float64]
    """By class, float (C,)."""
    miou: float
    """Mean IoU of all classes, background included."""
    mean_f1: float
    """Mean F1 of the foreground classes."""
    accuracy: float
    """Share of the pixels that agree."""

    @classmethod
    def of(cls, matrix: NDArray[np.int64], background: int = 0) -> "Scores":
        """From a matrix of counts, rows = truth, columns = prediction.

        Args:
            matrix: int (C, C), or (C, C + 1) with ``other`` as its last column: a miss for the row's class, and no
                class of its own.
            background: the class that ``mean_f1`` leaves out.
        """
        hit = np.diag(matrix).astype(np.float64)
        truth, guess = matrix.sum(1), matrix.sum(0)[: len(matrix)]
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = hit / (truth + guess - hit)
            f1 = 2 * hit / (truth + guess)
        accuracy = float(hit.sum() / matrix.sum()) if matrix.sum() else float("nan")
        return cls(iou, f1, mean_of_known(iou), mean_of_known(np.delete(f1, background)), accuracy)


@dataclass
class Confusion:
    """One confusion matrix a picture, so that pictures can be drawn again for the intervals.

    ``classes`` are those that the truth can tell apart. A predicted class beyond them counts as ``other``: wrong
    for the true class, a false alarm for none.
    """

    classes: int
    ignore: int = 255
    matrices: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Counts a picture: two label maps, uint8 (H, W). Pixels whose truth is no class are left out.

        Raises:
            ValueError: the shapes differ.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape}, prediction is {predicted.shape}")
        valid = (truth != self.ignore) & (truth < self.classes)
        guess = np.minimum(predicted[valid], self.classes).astype(np.int64)
        index = truth[valid].astype(np.int64) * (self.classes + 1) + guess
        counts = np.bincount(index, minlength=self.classes * (self.classes + 1))
        self.matrices.append(counts.reshape(self.classes, self.classes + 1))

    @property
    def total(self) -> NDArray[np.int64]:
        """The summed matrix, int (C, C + 1): the last column is ``other``."""
        if not self.matrices:
            return np.zeros((self.classes, self.classes + 1), np.int64)
        return np.asarray(np.sum(self.matrices, axis=0), np.int64)

    def of_pictures(self, chosen: NDArray[np.bool_]) -> "Confusion":
        """That of some of the pictures, bool (pictures,)."""
        matrices = [matrix for matrix, taken in zip(self.matrices, chosen, strict=True) if taken]
        return Confusion(self.classes, self.ignore, matrices)

    def scores(self) -> Scores:
        """Figures of the summed matrix."""
        return Scores.of(self.total)

    def intervals(
        self,
        rounds: int = BOOTSTRAP_ROUNDS,
        seed: int = 0,
        figures: "Callable[[Scores], Mapping[str, float]] | None" = None,
    ) -> dict[str, Interval]:
        """95 % bootstrap intervals over pictures of ``miou`` and ``mean_f1``, or of other ``figures`` of the scores.

        Raises:
            ValueError: no picture has been added.
        """
        named = figures or usual_figures
        return bootstrap(np.array(self.matrices, np.int64), lambda total: named(Scores.of(total)), rounds, seed)


def usual_figures(scores: Scores) -> dict[str, float]:
    """The two that every evaluation tells: ``miou`` and ``mean_f1``."""
    return {"miou": scores.miou, "mean_f1": scores.mean_f1}


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Of those that are numbers; NaN where none is, without numpy's warning."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
