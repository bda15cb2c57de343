"""A face of ellipses with its 264 landmarks, for the tests of what covers faces."""

import cv2
import numpy as np
from fpan_training.landmarks.canonical import canonical_mesh
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray

SIDE = 160


def landmarks() -> NDArray[np.float32]:
    """The canonical face, which looks at the camera, in the middle of the picture: float32 (264, 2)."""
    mesh = canonical_mesh().vertices[:, :2]
    points = SCHEME.from_mesh(mesh)
    low, high = points.min(0), points.max(0)
    return np.asarray((points - (low + high) / 2) * (0.62 * SIDE / (high - low)[1]) + SIDE / 2, np.float32)


def face(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """A picture, uint8 (SIDE, SIDE, 3), its labels and its landmarks."""
    points = landmarks()
    labels = np.zeros((SIDE, SIDE), np.uint8)
    contour = {c.name: np.rint(points[c.points]).astype(np.int32) for c in SCHEME.contours}
    cv2.fillPoly(labels, [contour["outline"]], TAXONOMY.id_of("skin"))
    nose = np.rint(points[SCHEME.groups["nose"]]).astype(np.int32)
    cv2.fillConvexPoly(labels, cv2.convexHull(nose), TAXONOMY.id_of("nose"))
    for name, part in (("r_eye", "r_eye"), ("l_eye", "l_eye"), ("lips_outer", "u_lip"), ("lips_inner", "mouth")):
        cv2.fillPoly(labels, [contour[name]], TAXONOMY.id_of(part))
    noise = np.random.default_rng(seed).normal(0, 5, (SIDE, SIDE, 3))
    image = np.clip(TAXONOMY.palette[labels] * 0.5 + 90 + noise, 0, 255).astype(np.uint8)
    return image, labels, points
