"""Square crops about a face's points, and points carried along. Matrices are those of ``cv2.warpAffine``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def face_crop(points: NDArray[np.floating[Any]], size: int, margin: float) -> NDArray[np.float64]:
    """The upright square about the points' box, enlarged on every side by ``margin`` of the box's longer side.

    Args:
        points: (N, 2) as (x, y) in pixels of the picture.
        size: side of the crop in pixels.
        margin: 0 for a crop whose edge the outermost points touch.

    Returns:
        float64 (2, 3): from pixels of the picture to pixels of the crop.

    Raises:
        ValueError: the points are no more than one place.
    """
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    side = float((high - low).max()) * (1 + 2 * margin)
    if side <= 0:
        raise ValueError("a crop needs points that differ")
    scale = size / side
    # The square's centre comes to the crop's, which lies between pixels where the size is even.
    shift = (size - 1) / 2 - scale * (low + high) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def warp_points(points: NDArray[np.floating[Any]], matrix: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Moves points (N, 2) by a matrix (2, 3): float32 (N, 2)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def invert(matrix: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The matrix (2, 3) of the way back."""
    linear = np.linalg.inv(matrix[:, :2].astype(float))
    return np.column_stack([linear, -linear @ matrix[:, 2]])
