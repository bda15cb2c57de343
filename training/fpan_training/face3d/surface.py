"""Nearest points on triangle meshes, and what they carry."""

from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_CANDIDATES = 40
"""Triangles tried for a point, by the distance of their centres: enough where triangles are of like size."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfacePoints:
    """Points on a mesh."""

    triangle: NDArray[np.int64]
    """(N,)."""
    barycentric: Floats
    """(N, 3), each row adding up to 1."""

    def carry(self, corner_values: Floats) -> Floats:
        """What the points get of values given by corner: (T, 3, D) to (N, D)."""
        return np.asarray(np.einsum("nk,nkd->nd", self.barycentric, corner_values[self.triangle]))


def closest(points: Floats, vertices: Floats, triangles: NDArray[np.int64]) -> SurfacePoints:
    """The points of a surface that are nearest to points (N, 3)."""
    corners = vertices[triangles]
    count = min(_CANDIDATES, len(triangles))
    candidates = np.asarray(cKDTree(corners.mean(1)).query(points, count)[1]).reshape(len(points), count)
    flat = candidates.ravel()
    found = trimesh.triangles.closest_point(corners[flat], np.repeat(points, count, 0))
    distance = np.linalg.norm(found - np.repeat(points, count, 0), axis=1).reshape(len(points), count)
    best = np.arange(len(points)) * count + distance.argmin(1)
    triangle = flat[best]
    barycentric = trimesh.triangles.points_to_barycentric(corners[triangle], found[best], method="cross")
    return SurfacePoints(triangle, np.asarray(barycentric, np.float64))
