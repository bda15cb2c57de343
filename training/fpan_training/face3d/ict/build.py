"""`fpan-train face-model`: makes the committed face model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpan_training.face3d.ict import source as ict
from fpan_training.face3d.ict.atlas import corner_uv, in_sight
from fpan_training.face3d.ict.decimate import decimate
from fpan_training.face3d.ict.regions import part_map
from fpan_training.face3d.ict.register import register
from fpan_training.face3d.ict.source import Floats, IctSource, read_ict
from fpan_training.face3d.model import MODEL_FILE
from fpan_training.face3d.surface import closest
from fpan_training.landmarks.teacher import mesh_rotation

_Y_UP = np.array([1.0, -1.0, -1.0])
_MESH_REGIONS = ((slice(0, 468), ict.FACE), (slice(468, 473), ict.RIGHT_EYE), (slice(473, 478), ict.LEFT_EYE))
"""Which part of the model carries which of the 478 points."""
_UV_STEPS = 65535


@dataclass(frozen=True)
class FaceModelBuild:
    """Makes the face model that comes with the package out of ICT-FaceKit light (MIT)."""

    ict: Path
    """Folder with ``ict_facekit_id50_expr.npz`` and ``vertex_indices.json``."""
    out: Path = MODEL_FILE
    """File to write."""
    identities: int = 30
    """Identity modes kept, the strongest first."""
    head: int = 8400
    """Triangles of the skin and the sockets of mouth and eyes."""
    gums: int = 300
    """Triangles of gums and tongue."""
    teeth: int = 500
    eye: int = 220
    """Triangles of the visible front of each eyeball."""

    def __call__(self) -> Path:
        """Writes the file and returns its path."""
        source = read_ict(self.ict)
        kept, triangles = self._reduced(source)
        mesh478 = register(source)
        vertices = source.neutral[kept]
        carriers = np.empty((len(mesh478), 3), np.uint16)
        weights = np.empty((len(mesh478), 3), np.float32)
        for members, region in _MESH_REGIONS:
            within = ((kept[triangles] >= region.start) & (kept[triangles] < region.stop)).all(1)
            found = closest(mesh478[members], vertices, triangles[within])
            carriers[members] = triangles[within][found.triangle]
            weights[members] = found.barycentric
        # Yaw, pitch and roll shall mean what those of the landmark teacher mean: ICT-FaceKit looks two degrees higher.
        turn = np.diag(_Y_UP) @ mesh_rotation((mesh478 * _Y_UP).astype(np.float32))
        identity, identity_scale = _quantised(source.identity[: self.identities, kept] @ turn)
        expression, expression_scale = _quantised(source.expression[:, kept] @ turn)
        np.savez_compressed(
            self.out,
            neutral=(vertices @ turn).astype(np.float32),
            triangles=triangles.astype(np.uint16),
            uv=np.rint(corner_uv(source, kept[triangles]) * _UV_STEPS).astype(np.uint16),
            identity=identity,
            identity_scale=identity_scale,
            expression=expression,
            expression_scale=expression_scale,
            expression_names=np.array(source.expression_names),
            part_map=part_map(source, mesh478),
            mesh_vertices=carriers,
            mesh_weights=weights,
            ict_vertices=kept.astype(np.uint16),
        )
        return self.out

    def _reduced(self, source: IctSource) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Vertices kept, (V,), and triangles of them, (T, 3)."""
        wanted = [
            (source.within(ict.HEAD), self.head),
            (source.within(ict.GUMS), self.gums),
            (source.within(ict.TEETH), self.teeth),
            (in_sight(source, ict.LEFT_EYE), self.eye),
            (in_sight(source, ict.RIGHT_EYE), self.eye),
        ]
        kept: list[NDArray[np.int64]] = []
        triangles: list[NDArray[np.int64]] = []
        for part, target in wanted:
            reduced = decimate(source.neutral, source.triangles[part], target)
            triangles.append(reduced.triangles + sum(map(len, kept)))
            kept.append(reduced.kept)
        return np.concatenate(kept), np.concatenate(triangles)


def _quantised(modes: Floats) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Modes (K, V, 3) as int8 steps and the size of a step for each mode, (K,)."""
    scale = np.abs(modes).max((1, 2)) / np.iinfo(np.int8).max
    return np.rint(modes / scale[:, None, None]).astype(np.int8), scale.astype(np.float32)
