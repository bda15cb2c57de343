"""The 3D face model: ICT-FaceKit (Li et al. 2020, MIT) with fewer vertices, committed with the package.

``ict_face.npz`` is made by ``fpan-train face-model``; its licence stands beside it. Modes are kept as int8 steps: the
error is below a tenth of a millimetre for each.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpan_training.taxonomy import TAXONOMY

MODEL_FILE = Path(__file__).with_name("ict_face.npz")
_UV_STEPS = 65535
_BARYCENTRE = 1 / 3

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FaceModel:
    """A head: skin, eyes, gums, tongue and teeth. Centimetres; x right in the picture, y down, z away from the camera;
    it looks along -z, its origin lies between the ears.
    """

    neutral: NDArray[np.float32]
    """(V, 3): the mean face without expression."""
    triangles: NDArray[np.int64]
    """(T, 3)."""
    uv: NDArray[np.float32]
    """(T, 3, 2) by corner, from 0 to 1, v going down: places in the atlas (:mod:`.atlas`)."""
    identity: NDArray[np.float32]
    """(K, V, 3): what one standard deviation of each mode adds."""
    expression: NDArray[np.float32]
    """(E, V, 3): what each expression adds at its full strength, 1."""
    expression_names: tuple[str, ...]
    """As ARKit calls them, ``_L`` and ``_R`` being the person's own."""
    part_map: NDArray[np.uint8]
    """(512, 512): class ids over the atlas, sharper than the vertices can be. ``hair`` is where hair grows, ``cloth``
    the shoulders.
    """
    mesh_vertices: NDArray[np.int64]
    """(478, 3): the vertices that carry each point of MediaPipe's mesh."""
    mesh_weights: NDArray[np.float32]
    """(478, 3): and their weights."""

    @classmethod
    def load(cls) -> "FaceModel":
        """The model of the package; read once."""
        return _load()

    def vertices(self, identity: ArrayLike, expression: ArrayLike) -> NDArray[np.float32]:
        """The face of coefficients, (V, 3).

        Args:
            identity: up to K coefficients, in standard deviations; those left out are 0.
            expression: up to E coefficients from 0 to 1; those left out are 0.
        """
        alpha, beta = np.asarray(identity, np.float32), np.asarray(expression, np.float32)
        shape = np.tensordot(alpha, self.identity[: len(alpha)], 1) + np.tensordot(
            beta, self.expression[: len(beta)], 1
        )
        return np.asarray(self.neutral + shape, np.float32)

    def strengths(self, **named: float) -> NDArray[np.float32]:
        """Expression coefficients, (E,), by name: ``strengths(jawOpen=0.5)``.

        Raises:
            ValueError: there is no such expression.
        """
        unknown = set(named) - set(self.expression_names)
        if unknown:
            raise ValueError(
                f"no expression {', '.join(sorted(unknown))}; there are {', '.join(self.expression_names)}"
            )
        return np.array([named.get(name, 0.0) for name in self.expression_names], np.float32)

    def mesh478(self, vertices: Floats) -> NDArray[np.float32]:
        """MediaPipe's 478 points of a face's vertices, in any frame: (V, D) to (478, D)."""
        return np.asarray(np.einsum("nk,nkd->nd", self.mesh_weights, vertices[self.mesh_vertices]), np.float32)

    def normals(self, vertices: Floats) -> NDArray[np.float32]:
        """Outward unit normals, (V, 3) to (V, 3): means of the triangles about a vertex, by their area."""
        a, b, c = (vertices[self.triangles[:, corner]] for corner in range(3))
        faces = np.cross(b - a, c - a)
        index = self.triangles.ravel()
        sums = [np.bincount(index, np.repeat(faces[:, axis], 3), len(vertices)) for axis in range(3)]
        normals = np.stack(sums, -1)
        return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12), np.float32)

    @cached_property
    def triangle_parts(self) -> NDArray[np.uint8]:
        """(T,): class id at each triangle's middle."""
        return self.parts_at(self.uv.mean(1))

    @cached_property
    def parts(self) -> NDArray[np.uint8]:
        """(V,): class id of each vertex: the one that most of the triangles about it show next to it."""
        towards = self.uv + (self.uv.mean(1, keepdims=True) - self.uv) * _BARYCENTRE
        seen = self.parts_at(towards.reshape(-1, 2))
        votes = np.zeros((len(self.neutral), len(TAXONOMY.classes)), np.int64)
        np.add.at(votes, (self.triangles.ravel(), seen), 1)
        return np.asarray(votes.argmax(1), np.uint8)

    def parts_at(self, uv: Floats) -> NDArray[np.uint8]:
        """Class ids at places of the atlas: (..., 2) to (...)."""
        size = len(self.part_map)
        at = np.clip((uv * size).astype(np.int64), 0, size - 1)
        return np.asarray(self.part_map[at[..., 1], at[..., 0]])


@lru_cache(maxsize=1)
def _load() -> FaceModel:
    with np.load(MODEL_FILE) as content:
        modes = {
            name: content[name].astype(np.float32) * content[f"{name}_scale"][:, None, None]
            for name in ("identity", "expression")
        }
        return FaceModel(
            neutral=content["neutral"],
            triangles=content["triangles"].astype(np.int64),
            uv=(content["uv"] / np.float32(_UV_STEPS)).astype(np.float32),
            **modes,
            expression_names=tuple(str(name) for name in content["expression_names"]),
            part_map=content["part_map"],
            mesh_vertices=content["mesh_vertices"].astype(np.int64),
            mesh_weights=content["mesh_weights"],
        )
