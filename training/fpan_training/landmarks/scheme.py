"""The scheme of the 264 landmarks, read from ``scheme264.json``: names, groups, partners, and how they are computed.

The paper names 264 landmarks and publishes no scheme; this one is the project's own (:mod:`.design` lays it out). Every
landmark is a fixed mixture of a few vertices of MediaPipe's 478-point face mesh, so that the same landmark means the
same place on every face and under every pose. ``r_`` and ``l_`` are the person's own right and left: ``l_`` lies to
the right in the picture.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.landmarks.canonical import VERTICES

POINTS = 264
"""Landmarks of a face (Mask-FPAN, section III)."""
IBUG_POINTS = 68
"""Landmarks of the usual public scheme (Sagonas et al., 300-W)."""
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Contour:
    """A line of landmarks, in order."""

    name: str
    closed: bool
    points: NDArray[np.int64]
    """Indices of landmarks."""


@dataclass(frozen=True)
class Scheme:
    """264 named landmarks."""

    names: tuple[str, ...]
    partner: NDArray[np.int64]
    """int64 (264,): the landmark on the other side of the face; one of the midline is its own partner."""
    groups: Mapping[str, NDArray[np.int64]]
    """Indices by group: ``outline``, ``brows``, ``eyes``, ``irises``, ``nose``, ``lips_outer``, ``lips_inner``,
    ``cheeks`` and ``forehead`` part the 264; ``ears`` and ``midline`` are taken from these. The mesh has no ears:
    ``ears`` is the part of the outline that runs along where they are attached. Ears themselves come from the fitted
    3D face (:mod:`fpan_training.face3d`), whose vertices carry the part they belong to.
    """
    contours: tuple[Contour, ...]
    mesh_weights: NDArray[np.float32]
    """float32 (264, 478): each landmark's mixture of mesh vertices."""
    ibug_weights: NDArray[np.float32]
    """float32 (68, 264): each of the usual 68 as a mixture of landmarks that are neighbours on a contour."""

    def __len__(self) -> int:
        return len(self.names)

    def from_mesh(self, mesh: NDArray[np.floating[Any]]) -> Points:
        """The landmarks of a mesh: (478, 2 or 3) to float32 (264, 2), in the mesh's pixels.

        Raises:
            ValueError: not a mesh of 478 points.
        """
        return self.from_mesh_3d(mesh)[:, :2]

    def from_mesh_3d(self, mesh: NDArray[np.floating[Any]]) -> Points:
        """The same with all coordinates of the mesh: (478, D) to float32 (264, D)."""
        if mesh.shape[0] != VERTICES:
            raise ValueError(f"a face mesh has {VERTICES} points, not {mesh.shape[0]}")
        return np.asarray(self.mesh_weights @ mesh, np.float32)

    def to68(self, points: NDArray[np.floating[Any]]) -> Points:
        """The usual 68 landmarks: (264, 2) to float32 (68, 2). The jaw line's 17 follow the mesh's outline."""
        return np.asarray(self.ibug_weights @ self._checked(points), np.float32)

    def mirror(self, points: NDArray[np.floating[Any]], width: int) -> Points:
        """The landmarks of the mirrored picture of ``width`` pixels: (264, 2) to float32 (264, 2)."""
        mirrored = self._checked(points)[self.partner].astype(np.float32)
        mirrored[:, 0] = width - 1 - mirrored[:, 0]
        return mirrored

    def _checked(self, points: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        if points.shape[0] != len(self):
            raise ValueError(f"the scheme has {len(self)} landmarks, not {points.shape[0]}")
        return points


def read_scheme(content: Mapping[str, Any]) -> Scheme:
    """Builds the scheme from what ``scheme264.json`` holds."""
    points = content["points"]
    names = tuple(point["name"] for point in points)
    index = {name: i for i, name in enumerate(names)}
    groups: dict[str, list[int]] = {}
    for i, point in enumerate(points):
        for group in point["groups"]:
            groups.setdefault(group, []).append(i)
    return Scheme(
        names,
        np.array([index[point["partner"]] for point in points], np.int64),
        {name: np.array(members, np.int64) for name, members in groups.items()},
        tuple(
            Contour(line["name"], line["closed"], np.array([index[name] for name in line["points"]], np.int64))
            for line in content["contours"]
        ),
        _dense([point["mesh"] for point in points], VERTICES),
        _dense([[(index[name], weight) for name, weight in row] for row in content["ibug68"]], len(names)),
    )


def _dense(rows: list[Any], columns: int) -> NDArray[np.float32]:
    matrix = np.zeros((len(rows), columns), np.float32)
    for row, entries in zip(matrix, rows, strict=True):
        for column, weight in entries:
            row[column] = weight
    return matrix


def _load() -> Scheme:
    file = resources.files(__package__).joinpath("scheme264.json")
    return read_scheme(json.loads(file.read_text(encoding="utf-8")))


SCHEME = _load()
