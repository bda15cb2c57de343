"""Estimates the head pose from the detector's five points."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract.face import Pose

FACE = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.555, -0.336], [-0.42, 1.062, 0.076], [0.42, 1.062, 0.076]])
"""The five points of a mean head, float (5, 3). The unit is the distance between the eyes; the origin is the midpoint
of the eyes. In the picture of a frontal face x points right and y down; z points away from the camera. Fitted to the
detector's points on faces of known pose: ``python -m benchmarks.studies.pose``."""
_CAMERA = 40.0
"""Distance of the camera, in units of the distance between the eyes. It is about 2.5 m, so that perspective has little
effect."""


def solve(landmarks: NDArray[np.float32]) -> Pose | None:
    """Estimates the pose of a head from its five points.

    The mean error of yaw and pitch is a few degrees (``docs/results/pose.md``); five points allow no better.

    Args:
        landmarks: float (5, 2), in the order of ``fpan.contract.FIVE_POINTS``.

    Returns:
        None where the points coincide or lie on a line.
    """
    points = np.asarray(landmarks, np.float64)
    centred = points - points.mean(0)
    spread = np.linalg.svd(centred, compute_uv=False)
    if spread[1] < 1e-3 * max(spread[0], 1e-9):
        return None
    # Scales the points to the size that a head at this distance has for a camera of this focal length.
    scale = float(np.sqrt((centred**2).sum() / ((FACE[:, :2] - FACE[:, :2].mean(0)) ** 2).sum()))
    camera = np.diag([_CAMERA, _CAMERA, 1.0])
    found, turn, _ = cv2.solvePnP(FACE, centred / scale, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found or not np.isfinite(turn).all():
        return None
    return _angles(np.asarray(cv2.Rodrigues(turn)[0], np.float64))


def _angles(rotation: NDArray[np.float64]) -> Pose:
    """The angles of R = Rx(pitch) @ Ry(yaw) @ Rz(roll), in degrees. This is the order of 300W-LP, but its yaw has the
    opposite sign.
    """
    r = rotation
    yaw = np.arctan2(-r[0, 2], np.hypot(r[0, 0], r[0, 1]))
    pitch, roll = np.arctan2(r[1, 2], r[2, 2]), np.arctan2(-r[0, 1], r[0, 0])
    return Pose(*(float(v) for v in np.rad2deg([yaw, pitch, roll])))
