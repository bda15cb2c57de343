"""The canonical face of MediaPipe's landmark model: the mesh that the 264 landmarks are laid out on.

``canonical_mesh.json`` holds it as published (MediaPipe, Apache-2.0: ``face_model_with_iris.obj`` and the weights of
``geometry_pipeline_metadata_landmarks.pbtxt``).
"""

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

VERTICES = 478
"""468 of the face and 5 of each iris."""
_FROM_PUBLISHED = (1.0, -1.0, -1.0)
"""The file has y up and z towards the viewer; here y goes down and z away from the camera."""


@dataclass(frozen=True)
class CanonicalMesh:
    """A neutral face, seen from the front."""

    vertices: NDArray[np.float32]
    """float32 (478, 3) in centimetres: x to the right of the picture, y down, z away from the camera."""
    triangles: NDArray[np.int64]
    """int64 (906, 3) indices of vertices."""
    pose_weights: NDArray[np.float32]
    """float32 (478,): what each vertex counts when the head's pose is fitted; zero for those that expressions move."""

    @cached_property
    def partner(self) -> NDArray[np.int64]:
        """int64 (478,): the vertex on the other side of the face; a vertex of the midline is its own."""
        mirrored = self.vertices * np.array((-1, 1, 1), np.float32)
        return np.asarray(((mirrored[:, None] - self.vertices[None]) ** 2).sum(-1).argmin(1), np.int64)


@lru_cache(maxsize=1)
def canonical_mesh() -> CanonicalMesh:
    """Reads the mesh that comes with the package."""
    file = resources.files(__package__).joinpath("canonical_mesh.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    weights = np.zeros(VERTICES, np.float32)
    weights[[int(v) for v in content["pose_weights"]]] = list(content["pose_weights"].values())
    return CanonicalMesh(
        np.array(content["vertices"], np.float32) * np.array(_FROM_PUBLISHED, np.float32),
        np.array(content["triangles"], np.int64),
        weights,
    )
