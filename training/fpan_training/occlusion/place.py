"""Where a cut-out goes: before the mouth, on a cheek, on the eyes, or anywhere, as large as the wanted share asks."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.cutout import Cutout
from fpan_training.occlusion.frame import FaceFrame, Points

Matrix = NDArray[np.float64]
_GRID = 64
"""Places along the face's longer side of the grid on which a share is tried out."""
_HALVINGS = 6
"""Steps of the search for a scale: the range of :data:`_FACTORS` is left known to 3 %."""
_KERNEL = np.ones((3, 3), np.uint8)
_FACTORS = (0.25, 1.7)
"""Smallest and largest change of the scale that NatOcc draws, to come to the wanted share."""


@dataclass(frozen=True)
class Placement:
    """A cut-out's pixel ``pin`` goes to the picture's pixel ``at``; ``linear`` (2, 2) turns and stretches it."""

    linear: Matrix
    pin: Points
    at: Points

    @property
    def matrix(self) -> Matrix:
        """From pixels of the cut-out to pixels of the picture, float64 (2, 3)."""
        return np.column_stack([self.linear, self.at - self.linear @ self.pin])

    def scaled(self, factor: float) -> "Placement":
        """The same, larger or smaller about its pin."""
        return replace(self, linear=self.linear * factor)


def turn(degrees: float) -> Matrix:
    """Clockwise in the picture, float64 (2, 2)."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def align(source: Points, target: Points) -> Matrix:
    """The rotation (2, 2) that turns one direction to another."""
    cos, sin = float(source @ target), float(source[0] * target[1] - source[1] * target[0])
    return np.asarray(np.array([[cos, -sin], [sin, cos]]) / max(float(np.hypot(cos, sin)), 1e-9))


def jitter(rng: np.random.Generator, scale: tuple[float, float], degrees: float, shear: float) -> Matrix:
    """A random stretch of each side, rotation and shear, float64 (2, 2)."""
    stretch = np.diag(rng.uniform(*scale, 2))
    slant = np.array([[1, np.tan(np.deg2rad(rng.uniform(-shear, shear)))], [0, 1]])
    return np.asarray(turn(rng.uniform(-degrees, degrees)) @ slant @ stretch)


def anywhere(cutout: Cutout, frame: FaceFrame, linear: Matrix, rng: np.random.Generator) -> Placement:
    """Its middle evenly in the face's box (Voo et al., NatOcc)."""
    at = frame.box[0] + rng.random(2) * (frame.box[1] - frame.box[0])
    return Placement(linear, _middle(cutout), at)


def hand_from(direction: Points, cutout: Cutout, linear: Matrix, at: Points, along: float) -> Placement:
    """A hand whose fingers point along ``direction`` in the picture.

    Args:
        direction: unit vector.
        cutout: the hand.
        linear: how it is stretched besides.
        at: where it is put.
        along: which part of it is put there, -0.5 at the wrist to 0.5 at the fingers' tips.
    """
    pin = _middle(cutout) + along * cutout.length * cutout.pointing
    return Placement(linear @ align(cutout.pointing, direction), pin, at)


def before_mouth(cutout: Cutout, frame: FaceFrame, rng: np.random.Generator) -> Placement:
    """A microphone whose head is before the mouth, held from below."""
    lean = np.deg2rad(rng.uniform(-55, 55))
    direction = -np.cos(lean) * frame.down + np.sin(lean) * frame.right
    width = _extent(frame)
    at = frame.mouth + width * (rng.uniform(-0.12, 0.12) * frame.right + rng.uniform(-0.02, 0.12) * frame.down)
    scale = width * rng.uniform(0.9, 1.5) / cutout.length
    pin = _middle(cutout) + 0.3 * cutout.length * cutout.pointing
    return Placement(scale * align(cutout.pointing, np.asarray(direction)), pin, at)


def on_eyes(cutout: Cutout, frame: FaceFrame, rng: np.random.Generator) -> Placement:
    """Glasses from one side of the face to the other, level with the eyes."""
    across = frame.local(frame.outline)
    level = frame.local(frame.eyes)[:, 1].mean()
    near = across[np.abs(across[:, 1] - level) < 0.15 * frame.size]
    near = across if len(near) < 2 else near
    left, right = float(near[:, 0].min()), float(near[:, 0].max())
    bridge = float(frame.local(frame.bridge[None])[0, 0])
    # Turned heads show the nearer lens larger; a flat cut-out can only be put between the middles of both.
    middle = 0.5 * (0.5 * (left + right) + bridge)
    at = frame.centre + np.array([middle, level + rng.uniform(0, 0.03) * frame.size]) @ np.stack(
        [frame.right, frame.down]
    )
    scale = (right - left) * rng.uniform(0.88, 1.0) / cutout.rgba.shape[1]
    return Placement(scale * align(np.array([1.0, 0.0]), frame.right), _middle(cutout), at)


def cover(placement: Placement, cutout: Cutout, frame: FaceFrame, wanted: float) -> tuple[Placement, float]:
    """Grows or shrinks it about its pin until it covers about the wanted share of the face.

    Returns:
        The placement, and the share of the face that it covers, as far as the range of scales allows.
    """
    low, high = frame.box
    step = max(1.0, float((high - low).max()) / _GRID)
    left, top = (int(v) for v in low)
    every = max(1, int(step))
    face = frame.face[top : int(high[1]) + 1 : every, left : int(high[0]) + 1 : every]
    shrink = max(1, max(cutout.rgba.shape[:2]) // _GRID)
    alpha = np.ascontiguousarray(cutout.rgba[shrink // 2 :: shrink, shrink // 2 :: shrink, 3])
    total = max(1, int(np.count_nonzero(face)))

    def share(factor: float) -> float:
        matrix = placement.scaled(factor).matrix
        # From the thinned cut-out to the thinned box.
        shift = (matrix[:, :2] @ np.full(2, float(shrink // 2)) + matrix[:, 2] - [left, top]) / every
        thin = np.column_stack([matrix[:, :2] * shrink / every, shift])
        drawn = cv2.warpAffine(alpha, thin, face.shape[::-1], flags=cv2.INTER_NEAREST) > 127
        # Softening takes a pixel of the picture from every edge: that part of a place of the grid.
        kept = cv2.erode(drawn.view(np.uint8), _KERNEL).view(np.bool_)
        before, after = (int(np.count_nonzero(area & face)) for area in (drawn, kept))
        return (before - (before - after) / every) / total

    bounds = np.log(_FACTORS)
    for _ in range(_HALVINGS):
        middle = float(bounds.mean())
        bounds = np.array([middle, bounds[1]]) if share(np.exp(middle)) < wanted else np.array([bounds[0], middle])
    factor = float(np.exp(bounds.mean()))
    return placement.scaled(factor), share(factor)


def _middle(cutout: Cutout) -> Points:
    return (np.array(cutout.rgba.shape[1::-1], float) - 1) / 2


def _extent(frame: FaceFrame) -> float:
    """Width of the face's box."""
    return float(frame.box[1, 0] - frame.box[0, 0])
