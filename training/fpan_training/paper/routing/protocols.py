"""What routing asks of LOM, DOM and PPM. All three are told roughly where the face is, by the teacher's landmarks."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.float32]


class LandmarkPrediction(NamedTuple):
    """LOM's landmarks of a face."""

    points: Points
    """float32 (264, 2) in the picture's pixels."""
    visibility: NDArray[np.float32]
    """float32 (264,): probability that each is visible."""


class LandmarkModel(Protocol):
    """LOM."""

    def __call__(self, image: Image, points: Points, /) -> LandmarkPrediction:
        """Landmarks of the face in a picture, RGB uint8 (H, W, 3), that lies about ``points``, float32 (264, 2)."""
        ...


class DeOccluder(Protocol):
    """DOM."""

    def __call__(self, image: Image, points: Points, /) -> NDArray[np.float32]:
        """Probability that each pixel of a picture, RGB uint8 (H, W, 3), shows what occludes the face about ``points``:
        float32 (H, W), 0 where DOM does not look.
        """
        ...


class PoseModel(Protocol):
    """PPM."""

    def __call__(self, image: Image, points: Points, /) -> NDArray[np.float32]:
        """Yaw, pitch and roll in degrees, float32 (3,), of the face about ``points``."""
        ...
