"""A z-buffered rasteriser on the CPU: which triangle each pixel shows, where on it, and how deep."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

OUTSIDE = -1
"""Triangle of a pixel that shows none."""
_AREA_MIN = 1e-12
"""Square pixels: thinner triangles are seen edge on and show nothing."""


@dataclass(frozen=True)
class Raster:
    """What the pixels of a picture show of a mesh."""

    triangle: NDArray[np.int32]
    """(H, W); :data:`OUTSIDE` where there is nothing."""
    barycentric: NDArray[np.float32]
    """(H, W, 3): weights of the triangle's corners; zero where there is nothing."""
    depth: NDArray[np.float32]
    """(H, W): z of what is seen; infinity where there is nothing."""

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(H, W): where a triangle is seen."""
        return np.asarray(self.triangle != OUTSIDE)

    def interpolate(self, corner_values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Values given by corner, (T, 3, D), at the pixels that show a triangle: (P, D), in row-major order."""
        covered = self.covered
        weights, values = (
            self.barycentric[covered],
            corner_values[self.triangle[covered]].astype(np.float32, copy=False),
        )
        return np.asarray(np.einsum("pk,pkd->pd", weights, values))


def rasterise(
    vertices: NDArray[np.floating[Any]], triangles: NDArray[np.integer[Any]], height: int, width: int
) -> Raster:
    """Draws a mesh orthographically.

    Args:
        vertices: (V, 3): x and y in pixels, the centre of the top-left pixel at (0, 0); z away from the camera.
        triangles: (T, 3), seen from either side.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Raises:
        ValueError: a vertex is not finite.
    """
    if not np.isfinite(vertices).all():
        raise ValueError("a mesh to draw needs finite vertices")
    shown = np.full((height, width), OUTSIDE, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    _draw(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(triangles, np.int64), shown, weights, depth)
    return Raster(shown, weights, depth)


@numba.njit(cache=True)
def _draw(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    shown: NDArray[np.int32],
    weights: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    """Fills the three pictures; the nearest triangle wins, of two as near the first."""
    height, width = shown.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
        cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < _AREA_MIN:
            continue
        left, right = max(0.0, np.ceil(min(ax, bx, cx))), min(width - 1.0, np.floor(max(ax, bx, cx)))
        top, bottom = max(0.0, np.ceil(min(ay, by, cy))), min(height - 1.0, np.floor(max(ay, by, cy)))
        if left > right or top > bottom:
            continue
        for y in range(int(top), int(bottom) + 1):
            for x in range(int(left), int(right) + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((y - ay) * (bx - ax) - (x - ax) * (by - ay)) / area
                u = 1.0 - v - w
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                z = u * az + v * bz + w * cz
                if z < depth[y, x]:
                    depth[y, x] = z
                    shown[y, x] = t
                    weights[y, x, 0] = u
                    weights[y, x, 1] = v
                    weights[y, x, 2] = w
