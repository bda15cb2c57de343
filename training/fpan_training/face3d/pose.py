"""Head pose: what yaw, pitch and roll mean here, and their rotation matrices.

Frame: x right, y down, z away from the camera; an unturned face looks along -z. Angles are degrees in the order (yaw,
pitch, roll). yaw > 0: the nose points to the right of the picture (the person's own left). pitch > 0: the nose points
up. roll > 0: the head turns clockwise as seen in the picture.

A rotation is ``R = Rx(pitch) @ Ry(yaw) @ Rz(roll)``, applied to column vectors: the head is rolled first, about its own
front, then turned, then tilted about the picture's horizontal. It is the order of 3DDFA (Zhu et al. 2016) and so of
300W-LP and AFLW2000, whose yaw has the other sign; errors in these angles compare with the literature's.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_Y_UP = np.array([1.0, -1.0, -1.0])
_GIMBAL = 1e-6
"""Cosine of the yaw below which pitch and roll turn about the same axis."""


def rotation(angles_deg: ArrayLike) -> Array:
    """Rotation matrices of angles: (..., 3) as (yaw, pitch, roll) in degrees to (..., 3, 3)."""
    radians = np.deg2rad(np.asarray(angles_deg, np.float64))
    (cos_yaw, cos_pitch, cos_roll), (sin_yaw, sin_pitch, sin_roll) = (
        np.moveaxis(f(radians), -1, 0) for f in (np.cos, np.sin)
    )
    one, zero = np.ones_like(cos_yaw), np.zeros_like(cos_yaw)
    rx = _matrix(((one, zero, zero), (zero, cos_pitch, sin_pitch), (zero, -sin_pitch, cos_pitch)))
    ry = _matrix(((cos_yaw, zero, -sin_yaw), (zero, one, zero), (sin_yaw, zero, cos_yaw)))
    rz = _matrix(((cos_roll, -sin_roll, zero), (sin_roll, cos_roll, zero), (zero, zero, one)))
    return np.asarray(rx @ ry @ rz)


def angles(rotation: ArrayLike) -> Array:
    """Angles of rotation matrices: (..., 3, 3) to (..., 3) as (yaw, pitch, roll) in degrees.

    Yaw lies within +-90, pitch and roll within +-180. At a yaw of +-90, where only the sum of the other two is
    determined, roll is 0.
    """
    r = np.asarray(rotation, np.float64)
    yaw = np.arctan2(-r[..., 0, 2], np.hypot(r[..., 0, 0], r[..., 0, 1]))
    locked = np.hypot(r[..., 0, 0], r[..., 0, 1]) < _GIMBAL
    pitch = np.where(
        locked, np.arctan2(np.sign(yaw) * r[..., 1, 0], r[..., 1, 1]), np.arctan2(r[..., 1, 2], r[..., 2, 2])
    )
    roll = np.where(locked, 0.0, np.arctan2(-r[..., 0, 1], r[..., 0, 0]))
    return np.asarray(np.rad2deg(np.stack([yaw, pitch, roll], -1)))


def from_aflw(pose_para: ArrayLike) -> Array:
    """Angles from the ``Pose_Para`` of AFLW2000 and 300W-LP: (..., 7) or (1, 7), of which the first three are pitch,
    yaw and roll in radians, to (..., 3) as (yaw, pitch, roll) in degrees.
    """
    pitch, yaw, roll = np.moveaxis(np.asarray(pose_para, np.float64).squeeze()[..., :3], -1, 0)
    return np.asarray(np.rad2deg(np.stack([-yaw, pitch, roll], -1)))


def from_y_up(matrix: ArrayLike) -> Array:
    """The rotation (3, 3) in this module's frame of one given with y up and z towards the camera (MediaPipe, OpenGL).

    ``matrix`` may be a 4x4 pose; a uniform scale in it is taken out.
    """
    r = np.asarray(matrix, np.float64)[..., :3, :3]
    r = r / np.cbrt(np.linalg.det(r))[..., None, None]
    return np.asarray(_Y_UP[:, None] * r * _Y_UP)


def mirror(angles_deg: ArrayLike) -> Array:
    """Angles of the same head in the mirrored picture: yaw and roll change sign."""
    return np.asarray(np.asarray(angles_deg, np.float64) * np.array([-1.0, 1.0, -1.0]))


def geodesic(a: ArrayLike, b: ArrayLike) -> Array:
    """Angle between rotations in degrees: (..., 3, 3) and (..., 3, 3) to (...)."""
    trace = np.einsum("...ij,...ij->...", np.asarray(a, np.float64), np.asarray(b, np.float64))
    return np.asarray(np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def _matrix(rows: tuple[tuple[Array, ...], ...]) -> Array:
    return np.stack([np.stack(row, -1) for row in rows], -2)
