"""Fewer vertices: quadric edge collapse, each survivor put back onto the vertex of ICT-FaceKit that is nearest to it.

So the model keeps a subset of the vertices, and modes and UV need no transfer.
"""

from dataclasses import dataclass

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from fpan_training.face3d.ict.source import Floats


@dataclass(frozen=True)
class Decimated:
    """A subset of a mesh."""

    kept: NDArray[np.int64]
    """(V,) vertices of the full mesh, ascending."""
    triangles: NDArray[np.int64]
    """(T, 3) indices into ``kept``."""


def decimate(vertices: Floats, triangles: NDArray[np.int64], target: int) -> Decimated:
    """Collapses edges until ``target`` triangles are left.

    Args:
        vertices: (N, 3); those that no triangle uses are left out.
        triangles: (T, 3).
        target: triangles wanted.
    """
    used, local = np.unique(triangles, return_inverse=True)
    points, faces = vertices[used].astype(np.float32), local.reshape(-1, 3).astype(np.int32)
    _, _, collapses = fast_simplification.simplify(points, faces, target_count=target, return_collapses=True)
    placed, small, owner = fast_simplification.replay_simplification(points, faces, collapses)
    # The member of each group of collapsed vertices that is nearest to where the group was put.
    distance = np.linalg.norm(points - placed[owner], axis=1)
    order = np.lexsort((distance, owner))
    groups, first = np.unique(owner[order], return_index=True)
    nearest = np.full(len(placed), -1, np.int64)
    nearest[groups] = order[first]
    small = nearest[small[(small[:, 0] != small[:, 1]) & (small[:, 1] != small[:, 2]) & (small[:, 2] != small[:, 0])]]
    kept, index = np.unique(small, return_inverse=True)
    return Decimated(used[kept], index.reshape(-1, 3).astype(np.int64))
