"""Where the face lies in a crop, and the arithmetic that takes a photo's face there.

The template is fitted, not invented: it is the mean of the detector's five points over the aligned training pictures,
so a face cropped in the wild lies where training saw it.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

FIVE_POINTS = ("r_eye", "l_eye", "nose", "r_mouth", "l_mouth")
"""The detector's points in order. Left and right are the person's own: ``r_eye`` is to the left in the picture."""

Point = tuple[float, float]


class AlignmentTemplate(BaseModel):
    """Mean positions of the five points in the unit square of the crop (x to the right, y down)."""

    model_config = ConfigDict(frozen=True)

    points: Annotated[tuple[Point, ...], Field(min_length=5, max_length=5)]
    box: tuple[float, float, float, float]
    """Mean box of the detector, x0, y0, x1, y1, in the same unit square: where a face given by its box alone is put."""
    fitted_on: str
    """Pictures and detector it was fitted with."""
    residual: float
    """Root mean square distance of the training pictures' points from it after alignment, in crop widths."""

    def crop_matrix(self, landmarks: NDArray[np.float32], size: int) -> NDArray[np.float64]:
        """The 2x3 similarity that takes the photo's pixels to the crop's.

        Args:
            landmarks: five points in the photo, float (5, 2), pixel coordinates whose integers are pixel centres.
            size: side of the square crop in pixels.

        Raises:
            ValueError: the points coincide, so that no scale can be told.
        """
        target = np.asarray(self.points, np.float64) * size - 0.5
        return similarity(np.asarray(landmarks, np.float64), target)


def similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least-squares similarity (rotation, uniform scale, shift; no reflection) from source to target points.

    Umeyama (1991), "Least-squares estimation of transformation parameters between two point patterns", in its
    closed form for two dimensions.

    Args:
        source: points, float (N, 2).
        target: points, float (N, 2).

    Returns:
        Matrix, float64 (2, 3), such that ``target ~ source @ M[:, :2].T + M[:, 2]``.

    Raises:
        ValueError: all source points coincide.
    """
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    spread = float((s * s).sum())
    if spread < 1e-9:
        raise ValueError("the points of the face coincide")
    a = float((s * t).sum()) / spread
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, mean_t - linear @ mean_s])
