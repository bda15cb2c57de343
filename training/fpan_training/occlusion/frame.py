"""Where on a picture a face's parts are, from its 264 landmarks, or else from its labels."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fpan_training.landmarks.scheme import Scheme

Points = NDArray[np.float64]
_COARSE = 128
"""Labels are looked at on a grid of about this many places a side: enough to put a hand on a cheek."""
_LEAST = 12
"""Places of that grid that a face, or a part of it, has at least."""
_USUAL = {"r_eye": (-0.22, 0.42), "l_eye": (0.22, 0.42), "nose": (0.0, 0.64), "mouth": (0.0, 0.8), "chin": (0.0, 1.0)}
"""Where parts are in the face's box, x from its middle and y from its top, for those that no label shows."""
_TIP, _CHIN = 0.25, 0.02
"""Lowest share of the nose's height, and of the face's, that is taken for the nose's tip and the chin."""
_BRIDGE = 9
"""Points on the bridge of the nose, the first of the scheme's contour ``nose_bridge``: the tip is the last."""


@dataclass(frozen=True)
class FaceFrame:
    """Anchors as (x, y) in pixels of the picture."""

    face: NDArray[np.bool_]
    """What counts as the face, bool (H, W)."""
    box: Points
    """Its corners, float64 (2, 2)."""
    eyes: Points
    """Middles of the eyes, float64 (2, 2); the person's right one, which is to the left in the picture, first."""
    bridge: Points
    """Between the eyes, float64 (2,)."""
    nose: Points
    """Its tip, float64 (2,)."""
    mouth: Points
    chin: Points
    outline: Points
    """The face's outline, float64 (N, 2), closed and in order."""

    @property
    def right(self) -> Points:
        """Unit vector along the line of the eyes, to the right in the picture of an upright face."""
        across = self.eyes[1] - self.eyes[0]
        return np.asarray(across / max(float(np.hypot(*across)), 1e-6))

    @property
    def down(self) -> Points:
        """Unit vector from the forehead to the chin."""
        return np.array([-self.right[1], self.right[0]])

    @property
    def centre(self) -> Points:
        """Middle of the box."""
        return np.asarray(self.box.mean(0))

    @property
    def size(self) -> float:
        """Side of the square that is as large as the box, in pixels."""
        return float(np.sqrt((self.box[1] - self.box[0]).prod()))

    def local(self, points: Points) -> Points:
        """Points (N, 2) in the face's own upright axes, from its centre."""
        return np.asarray((points - self.centre) @ np.column_stack([self.right, self.down]))


def frame_of(
    labels: NDArray[np.uint8] | None,
    points264: NDArray[np.float32] | None,
    shape: tuple[int, int],
    taxonomy: Taxonomy,
) -> FaceFrame | None:
    """Finds the anchors; None where there is no face to cover.

    The labels say what the face is, the landmarks where its parts are; either can stand in for the other.

    Raises:
        ValueError: neither labels nor landmarks, or landmarks that are no numbers.
    """
    if points264 is not None and not np.isfinite(points264).all():
        raise ValueError("landmarks are NaN: give None for a picture in which no face was found")
    if labels is None:
        if points264 is None:
            raise ValueError("to know where the face is, the generator needs labels or 264 landmarks")
        face = np.zeros(shape, np.uint8)
        cv2.fillPoly(face, [np.rint(points264[_contours()["outline"]]).astype(np.int32)], 1)
    else:
        face = np.asarray(cv2.LUT(labels, face_table(taxonomy)), np.uint8)
    left, top, width, height = cv2.boundingRect(face)
    step = max(1, min(shape) // _COARSE)
    coarse = face[step // 2 :: step, step // 2 :: step]
    if cv2.countNonZero(coarse) < _LEAST:
        return None
    box = np.array([[left, top], [left + width - 1, top + height - 1]], float)
    if points264 is not None:
        return _from_points(face.astype(bool), box, points264.astype(float))
    assert labels is not None
    return _from_labels(face.astype(bool), box, labels[step // 2 :: step, step // 2 :: step], coarse, step, taxonomy)


def face_table(taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """1 for the ids of the face's own parts, uint8 (256,)."""
    table = np.zeros(256, np.uint8)
    table[[taxonomy.id_of(name) for name in taxonomy.groups["face"]]] = 1
    return table


def mirror_points(points264: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The 264 landmarks in the mirrored picture of ``width`` pixels."""
    return _scheme().mirror(points264, width)


def _scheme() -> "Scheme":
    # Not above: the landmarks' store imports the loop, and that the data sets that draw occluders with this.
    from fpan_training.landmarks.scheme import SCHEME

    return SCHEME


@lru_cache
def _contours() -> dict[str, NDArray[np.int64]]:
    return {contour.name: contour.points for contour in _scheme().contours}


def _from_points(face: NDArray[np.bool_], box: Points, points: Points) -> FaceFrame:
    part = {name: points[indices] for name, indices in _contours().items()}
    return FaceFrame(
        face,
        box,
        eyes=np.stack([part["r_eye"].mean(0), part["l_eye"].mean(0)]),
        bridge=part["nose_bridge"][0],
        nose=part["nose_bridge"][_BRIDGE - 1],
        mouth=part["lips_outer"].mean(0),
        chin=part["outline"][len(part["outline"]) // 2],
        outline=part["outline"],
    )


def _from_labels(
    face: NDArray[np.bool_],
    box: Points,
    labels: NDArray[np.uint8],
    coarse: NDArray[np.uint8],
    step: int,
    taxonomy: Taxonomy,
) -> FaceFrame:
    def places(*names: str) -> Points:
        table = np.zeros(256, np.uint8)
        table[[taxonomy.id_of(name) for name in names]] = 1
        found = cv2.findNonZero(cv2.LUT(labels, table))
        at = np.empty((0, 2)) if found is None else found.reshape(-1, 2).astype(np.float64)
        return np.asarray(at * step + step // 2)

    corner, sides = np.array([box[:, 0].mean(), box[0, 1]]), box[1] - box[0]
    usual = {name: corner + np.array(at) * sides for name, at in _USUAL.items()}
    eyes = [places(name) for name in ("r_eye", "l_eye")]
    if any(len(eye) < _LEAST for eye in eyes):
        eyes = [places(name) + np.array([0, 0.1 * sides[1]]) for name in ("r_brow", "l_brow")]
    both = all(len(eye) >= _LEAST for eye in eyes)
    middles = np.stack([eye.mean(0) for eye in eyes] if both else [usual["r_eye"], usual["l_eye"]])
    middles = middles[np.argsort(middles[:, 0])]
    down = np.array([-1, 1]) * (middles[1] - middles[0])[::-1]
    down = down / max(float(np.hypot(*down)), 1e-6)
    edges, _ = cv2.findContours(np.ascontiguousarray(coarse), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = cv2.convexHull(np.concatenate(edges)).reshape(-1, 2).astype(np.float64) * step + step // 2
    nose, mouth = places("nose"), places("mouth", "u_lip", "l_lip")
    tip = usual["nose"] if len(nose) < _LEAST else _lowest(nose, down, _TIP)
    return FaceFrame(
        face,
        box,
        eyes=middles,
        bridge=middles.mean(0),
        nose=tip,
        mouth=usual["mouth"] if len(mouth) < _LEAST else mouth.mean(0),
        chin=_lowest(outline, down, _CHIN),
        outline=outline,
    )


def _lowest(points: Points, down: Points, share: float) -> Points:
    """The middle of the points in the lowest share of their height."""
    along = points @ down
    return np.asarray(points[along >= along.max() - share * np.ptp(along)].mean(0))
