"""Lays MediaPipe's 478-point mesh onto ICT-FaceKit's neutral face.

The canonical mesh is aligned by landmarks that both define, bent onto the surface by thin-plate splines in a few rounds
of nearest points, and dropped onto it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from fpan_training.face3d.ict import source as ict
from fpan_training.face3d.ict.atlas import eyeball
from fpan_training.face3d.ict.source import Floats, IctSource
from fpan_training.face3d.surface import closest
from fpan_training.landmarks.canonical import canonical_mesh

_IBUG_TO_MESH = {
    **dict(zip(range(36, 48), (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380), strict=True)),
    **dict(zip(range(48, 60), (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181), strict=True)),
    **dict(zip(range(60, 68), (78, 81, 13, 311, 308, 402, 14, 178), strict=True)),
    27: 168,
    30: 4,
    33: 2,
}
"""Of the usual 68 those that both meshes place alike, and the mesh's vertex for each."""
_UPPER_LIP = (0, 11, 12, 13, 37, 38, 39, 40, 41, 42, 72, 73, 74, 80, 81, 82, 183, 184, 185, 191)
_UPPER_LIP_LEFT = (267, 268, 269, 270, 271, 272, 302, 303, 304, 310, 311, 312, 407, 408, 409, 415)
_LOWER_LIP = (14, 15, 16, 17, 84, 85, 86, 87, 88, 89, 90, 91, 95, 96, 146, 77, 178, 179, 180, 181)
_LOWER_LIP_LEFT = (314, 315, 316, 317, 318, 319, 320, 321, 324, 325, 375, 307, 402, 403, 404, 405)
_JAW_MOVES = 0.35
"""Share of the largest movement of ``jawOpen`` from which on a lip's vertex belongs to the lower one."""
_ROUNDS = 6
_SMOOTHING = (3.0, 0.3)
"""Of the splines in the first and the last round."""
_IRIS_RADIUS_CM = 0.585
_IRISES = ((468, ict.RIGHT_EYE, -1.0), (473, ict.LEFT_EYE, 1.0))
"""Vertex of the centre, eyeball, and the side on which the ear lies."""


def register(source: IctSource) -> Floats:
    """Where the 478 points lie on the neutral face: (478, 3) in ICT-FaceKit's frame."""
    canonical = canonical_mesh().vertices.astype(np.float64)[:468] * np.array([1, -1, -1])
    triangles = source.triangles[source.within(ict.FACE)]
    mesh, target = np.array(list(_IBUG_TO_MESH.values())), source.landmarks68[list(_IBUG_TO_MESH)]
    fixed = source.neutral[target]
    points = _align(canonical[mesh], fixed, canonical)
    upper, lower = _lips(source, triangles)
    groups = _groups(upper, lower)
    for smoothing in np.geomspace(*_SMOOTHING, _ROUNDS):
        goal = _drop(points, source.neutral, triangles, groups)
        goal[mesh] = fixed
        points = RBFInterpolator(points, goal, kernel="thin_plate_spline", smoothing=float(smoothing))(points)
    points = _drop(points, source.neutral, triangles, groups)
    return np.concatenate([points, *(_iris(source, vertices, ear) for _, vertices, ear in _IRISES)])


def _align(a: Floats, b: Floats, points: Floats) -> Floats:
    """Moves points by the similarity that takes ``a`` to ``b``."""
    mean_a, mean_b = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - mean_b).T @ (a - mean_a))
    proper = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * proper).sum() / ((a - mean_a) ** 2).sum()
    return np.asarray((points - mean_a) @ (scale * (u * proper) @ vt).T + mean_b)


def _lips(source: IctSource, triangles: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles of the face that may hold points of the upper and of the lower lip."""
    moves = np.linalg.norm(source.mode("jawOpen"), axis=1)
    low = moves > _JAW_MOVES * moves[list(ict.FACE)].max()
    return triangles[~low[triangles].any(1)], triangles[low[triangles].all(1)]


def _groups(upper: NDArray[np.int64], lower: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    return [
        (np.array(_UPPER_LIP + _UPPER_LIP_LEFT), upper),
        (np.array(_LOWER_LIP + _LOWER_LIP_LEFT), lower),
    ]


def _drop(
    points: Floats,
    vertices: Floats,
    triangles: NDArray[np.int64],
    groups: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> Floats:
    """The nearest points of the surface; those of a group on the group's triangles."""
    found = closest(points, vertices, triangles).carry(vertices[triangles])
    for members, allowed in groups:
        found[members] = closest(points[members], vertices, allowed).carry(vertices[allowed])
    return found


def _iris(source: IctSource, vertices: range, ear: float) -> Floats:
    """Centre and ring of an iris on the eyeball, (5, 3): centre, towards the nose, above, towards the ear, below."""
    centre, radius = eyeball(source, vertices)
    ring = np.array([[0, 0], [-ear, 0], [0, 1], [ear, 0], [0, -1]]) * _IRIS_RADIUS_CM
    front = centre + np.column_stack([ring, np.full(len(ring), radius)])
    triangles = source.triangles[source.within(vertices)]
    return closest(front, source.neutral, triangles).carry(source.neutral[triangles])
