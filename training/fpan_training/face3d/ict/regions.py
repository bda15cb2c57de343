"""Draws which part of the face each place of the atlas is.

ICT-FaceKit tells eyes, mouth and skin apart; brows, lips, nose, ears, hair, neck and clothes are drawn: by the contours
of the 264 landmarks where these have them, by simple surfaces in space elsewhere.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from fpan_training.face3d.atlas import FACE_SHARE
from fpan_training.face3d.ict import source as ict
from fpan_training.face3d.ict.atlas import place
from fpan_training.face3d.ict.source import Floats, IctSource
from fpan_training.face3d.rasterise import rasterise
from fpan_training.face3d.surface import closest
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.taxonomy import TAXONOMY

PART_MAP_SIZE = 512
_EAR_CENTRE_CM, _EAR_RADII_CM, _EAR_TILT = (0.1, 0.75), (2.3, 3.3), 0.18
"""Of the ellipse about the ear, seen from the side: z and y of the centre, half axes, and how far it leans back."""
_EAR_SIDE_CM, _CANAL_SIDE_CM, _CANAL_SHARE = 6.9, 5.0, 0.6
"""Skin within the ellipse and farther than the first from the midline is ear; in its middle share the second counts."""
_NAPE_CM, _NAPE_DEPTH_CM, _NAPE_SLOPE = -4.5, -8.0, 0.45
"""Height of the hairline at the back, where that is, and how it rises from there towards the ears."""
_COLLAR_CM, _COLLAR_SLOPE = -11.2, -0.33
"""Height of the collar below the origin, and how it falls towards the front."""
_SHIFT = 4
"""Binary digits of a pixel that polygons are drawn to."""


def part_map(source: IctSource, mesh478: Floats) -> NDArray[np.uint8]:
    """Class ids over the atlas, uint8 (512, 512); beside the islands those of the nearest place on one.

    Args:
        source: the model.
        mesh478: (478, 3): MediaPipe's points on the neutral face, as :func:`.register.register` finds them.
    """
    return _Drawing(source, mesh478).drawn()


class _Drawing:
    """The atlas while its parts are drawn."""

    def __init__(self, source: IctSource, mesh478: Floats) -> None:
        parts = (ict.HEAD, ict.GUMS, ict.TEETH, ict.LEFT_EYE, ict.RIGHT_EYE)
        kept = np.concatenate([source.within(part) for part in parts])
        corners = place(source, kept)
        flat = np.concatenate([corners * PART_MAP_SIZE - 0.5, -source.neutral[source.triangles[kept]][..., 2:]], -1)
        raster = rasterise(flat.reshape(-1, 3), np.arange(len(kept) * 3).reshape(-1, 3), PART_MAP_SIZE, PART_MAP_SIZE)
        self.covered = raster.covered
        self.place = np.full((PART_MAP_SIZE, PART_MAP_SIZE, 3), np.nan)
        self.place[self.covered] = raster.interpolate(source.neutral[source.triangles[kept]])
        self.vertex = np.where(self.covered, source.triangles[kept, 0][raster.triangle], -1)
        face = source.within(ict.FACE)
        on_face = closest(SCHEME.mesh_weights @ mesh478, source.neutral, source.triangles[face]).carry(
            place(source, face)
        )
        self.contours = on_face * PART_MAP_SIZE - 0.5
        rows = np.arange(PART_MAP_SIZE)[:, None] < FACE_SHARE * PART_MAP_SIZE
        self.front = self.covered & rows & _within(self.vertex, ict.SKIN)
        self.labels = np.full(self.covered.shape, TAXONOMY.ignore, np.uint8)

    def drawn(self) -> NDArray[np.uint8]:
        self._paint("skin", self.front)
        self._hair_and_neck()
        self._ears()
        self._features()
        self._insides()
        nearest = distance_transform_edt(~self.covered, return_distances=False, return_indices=True)
        return np.asarray(self.labels[tuple(nearest)], np.uint8)

    def _hair_and_neck(self) -> None:
        outline = self._contour("outline")
        inside = self._polygon(outline)
        ears = self.contours[SCHEME.groups["ears"]]
        lobes = [side[:, 1].max() for side in (ears[::2], ears[1::2])]
        below = outline[outline[:, 1] >= min(lobes)]
        below = below[below[:, 0].argsort()]
        end = float(PART_MAP_SIZE)
        jaw = np.concatenate(
            [[[-1, below[0, 1]]], below, [[end, below[-1, 1]], [end, FACE_SHARE * end], [-1, FACE_SHARE * end]]]
        )
        rows = np.arange(PART_MAP_SIZE)[:, None]
        self._paint("hair", self.front & ~inside & (rows < ears[:, 1].min()))
        self._paint("neck", self.front & ~inside & self._polygon(jaw))
        back = self.covered & ~self.front & _within(self.vertex, ict.SKIN)
        with np.errstate(invalid="ignore"):
            y, z = self.place[..., 1], self.place[..., 2]
            nape = _NAPE_CM + _NAPE_SLOPE * (z - _NAPE_DEPTH_CM)
            self._paint("hair", back & (y > nape))
            self._paint("neck", back & (y <= nape))
            self._paint("cloth", (back | self.front) & (y < _COLLAR_CM + _COLLAR_SLOPE * z))

    def _ears(self) -> None:
        x, y, z = (self.place[..., axis] for axis in range(3))
        up, along = y - _EAR_CENTRE_CM[1], z - _EAR_CENTRE_CM[0]
        along = along + _EAR_TILT * up
        share = np.hypot(along / _EAR_RADII_CM[0], up / _EAR_RADII_CM[1])
        with np.errstate(invalid="ignore"):
            side = np.where(share < _CANAL_SHARE, _CANAL_SIDE_CM, _EAR_SIDE_CM)
            ear = (share < 1) & (np.abs(x) > side) & _within(self.vertex, ict.SKIN)
            self._paint("l_ear", ear & (x > 0))
            self._paint("r_ear", ear & (x < 0))

    def _features(self) -> None:
        right, left = ([f"{side}_nose_side", f"{side}_nose_wing"] for side in "rl")
        base = self._contour("nose_bridge")[-1:]
        side, other = (np.concatenate([self._contour(name) for name in names]) for names in (right, left))
        self._paint("nose", self.front & self._polygon(np.concatenate([side, base, other[::-1]])))
        for eye in "rl":
            upper, lower = self._contour(f"{eye}_brow_upper"), self._contour(f"{eye}_brow_lower")
            self._paint(f"{eye}_brow", self.front & self._polygon(np.concatenate([upper, lower[::-1]])))
        lips = self.front & self._polygon(self._contour("lips_outer"))
        inner = [name for name in SCHEME.names if "lips_inner" in name]
        distance = {lip: self._distance([name for name in inner if lip in name]) for lip in ("upper", "lower")}
        self._paint("u_lip", lips & (distance["upper"] <= distance["lower"]))
        self._paint("l_lip", lips & (distance["upper"] > distance["lower"]))

    def _insides(self) -> None:
        mouth = np.zeros_like(self.covered)
        for vertices in (ict.MOUTH_SOCKET, ict.GUMS, ict.TEETH):
            mouth |= _within(self.vertex, vertices)
        self._paint("mouth", mouth)
        with np.errstate(invalid="ignore"):
            sockets = _within(self.vertex, ict.EYE_SOCKETS)
            self._paint("l_eye", _within(self.vertex, ict.LEFT_EYE) | (sockets & (self.place[..., 0] > 0)))
            self._paint("r_eye", _within(self.vertex, ict.RIGHT_EYE) | (sockets & (self.place[..., 0] < 0)))

    def _paint(self, name: str, where: NDArray[np.bool_]) -> None:
        self.labels[where] = TAXONOMY.id_of(name)

    def _contour(self, name: str) -> Floats:
        return self.contours[next(c.points for c in SCHEME.contours if c.name == name)]

    def _polygon(self, points: Floats) -> NDArray[np.bool_]:
        mask = np.zeros(self.covered.shape, np.uint8)
        cv2.fillPoly(mask, [np.rint(points * 2**_SHIFT).astype(np.int32)], 1, shift=_SHIFT)
        return mask > 0

    def _distance(self, names: list[str]) -> Floats:
        """Pixels from every place of the atlas to the nearest of some landmarks."""
        points = self.contours[[SCHEME.names.index(name) for name in names]]
        grid = np.stack(np.meshgrid(*[np.arange(PART_MAP_SIZE)] * 2), -1)
        return np.asarray(np.linalg.norm(grid[..., None, :] - points, axis=-1).min(-1))


def _within(vertex: NDArray[np.int64], vertices: range) -> NDArray[np.bool_]:
    return np.asarray((vertex >= vertices.start) & (vertex < vertices.stop))
