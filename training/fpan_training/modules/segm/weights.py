"""Weights of SEGM's loss: pixels near occluded landmarks and pictures of turned heads count for more.

Eq. 2 of Mask-FPAN, which is not to be computed as it stands, read as: L = sum w_i CE_i / sum w_i over all valid pixels
of the batch, with w_i = 1 + lambda_o * o_i + lambda_p * p. o_i comes from the occluded landmarks of the landmark
occlusion module (LOM), p from the angles of the pose prediction module (PPM). Both lambdas 0: the plain loss.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WeightConfig:
    """How much more they count, and where. The paper gives no value for any of it."""

    lambda_o: float = 0.0
    """Extra weight at an occluded landmark; 0: occlusion plays no part."""
    lambda_p: float = 0.0
    """Extra weight of a head turned by twice ``theta`` or more; 0: pose plays no part."""
    tau: float = 0.08
    """Distance from an occluded landmark at which its extra weight has fallen to 1/e, in face sizes."""
    reach: float = 3.0
    """Distance from which on the extra weight is zero, in ``tau``."""
    theta: float = 30.0
    """Angle about any axis from which on a pose counts as large, in degrees."""
    visible: float = 0.5
    """Landmarks of a lower visibility than this count as occluded."""

    def __post_init__(self) -> None:
        if min(self.lambda_o, self.lambda_p) < 0 or min(self.tau, self.reach, self.theta) <= 0:
            raise ValueError("lambda_o and lambda_p must be 0 or more; tau, reach and theta must be more than 0")

    @property
    def plain(self) -> bool:
        """Every pixel weighs the same."""
        return self.lambda_o == 0 and self.lambda_p == 0


def pixel_weights(
    points: NDArray[np.float32],
    visibility: NDArray[np.float32],
    angles: NDArray[np.float32],
    size: tuple[int, int],
    config: WeightConfig,
) -> NDArray[np.float32]:
    """w_i of a picture, float (H, W), 1 or more.

    Args:
        points: all landmarks in pixels of the picture, (x, y), float (N, 2), moved as the picture was.
        visibility: probability that each is visible, float (N,).
        angles: yaw, pitch and roll of the head in degrees, float (3,), as it was before augmentation: a picture that is
            turned in its plane is no harder a pose.
        size: height and width of the picture.
        config: lambdas and distances.

    Raises:
        ValueError: the numbers of points and visibilities differ.
    """
    if len(points) != len(visibility):
        raise ValueError(f"{len(points)} points have {len(visibility)} visibilities")
    weights = np.full(size, 1 + config.lambda_p * large_pose(angles, config.theta), np.float32)
    occluded = points[visibility < config.visible]
    if config.lambda_o > 0 and len(occluded):
        weights += config.lambda_o * nearness(occluded, config.tau * face_size(points), config.reach, size)
    return weights


def nearness(occluded: NDArray[np.float32], tau: float, reach: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """o_i = exp(-d_i / tau), d_i from pixel i to the nearest occluded landmark; 0 beyond ``reach * tau``.

    Args:
        occluded: landmarks, (x, y) in pixels, float (N, 2), N > 0. They are rounded to pixels.
        tau: in pixels.
        reach: in ``tau``.
        size: height and width of the map.
    """
    # Landmarks outside of the picture reach into it, those beyond the margin do not.
    margin = int(np.ceil(reach * tau)) + 1
    height, width = size[0] + 2 * margin, size[1] + 2 * margin
    at = np.rint(occluded).astype(np.int64) + margin
    inside = ((at >= 0) & (at < (width, height))).all(1)
    if not inside.any():
        return np.zeros(size, np.float32)
    elsewhere = np.ones((height, width), np.uint8)
    elsewhere[at[inside, 1], at[inside, 0]] = 0
    distance = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = distance[margin : margin + size[0], margin : margin + size[1]]
    return np.where(distance > reach * tau, 0, np.exp(-distance / tau)).astype(np.float32)


def large_pose(angles: NDArray[np.float32], theta: float) -> float:
    """Of Eq. 2, p = clip(max over axes of |angle| / theta - 1, 0, 1): 0 up to ``theta``, 1 from twice that."""
    return float(np.clip(np.abs(angles).max() / theta - 1, 0, 1))


def face_size(points: NDArray[np.float32]) -> float:
    """The size of a face: the square root of the area of its landmarks' box, in pixels, at least 1."""
    return float(max(1.0, np.sqrt(np.ptp(points, axis=0).prod())))
