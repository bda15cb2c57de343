"""The labelled 3D face as a GLB file: the paper's 3D part segmentation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image as PilImage
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from fpan_training.data.folder import DataError, read_labels, read_rgb
from fpan_training.face3d.fit import FaceFit, fit
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.uv import UvMap, unwrap
from fpan_training.files import write_whole
from fpan_training.landmarks.teacher import Teacher, task_bytes
from fpan_training.taxonomy import TAXONOMY

PART = "_PART"
"""Attribute of every vertex in the file: its class id."""
_METRES = 0.01
_BESIDE_M = 0.3
"""Between the two heads of a file."""
_Y_UP = np.array([1.0, -1.0, -1.0])


def vertex_parts(uv_map: UvMap | None) -> NDArray[np.uint8]:
    """Class ids of the face model's vertices, (V,).

    Where a labelled picture shows a vertex, what it says there: most of its places in the atlas count. Elsewhere the
    model's own part.
    """
    model = FaceModel.load()
    if uv_map is None or uv_map.labels is None:
        return model.parts
    at = np.clip((model.uv * uv_map.size).astype(np.int64), 0, uv_map.size - 1)
    seen = uv_map.labels[at[..., 1], at[..., 0]]
    votes = np.zeros((len(model.neutral), len(TAXONOMY.classes)), np.int64)
    known = seen != TAXONOMY.ignore
    np.add.at(votes, (model.triangles[known], seen[known]), 1)
    return np.where(votes.any(1), votes.argmax(1), model.parts).astype(np.uint8)


def glb(face: FaceFit, uv_map: UvMap | None = None) -> bytes:
    """A face as the bytes of a GLB file (glTF 2.0), unturned, in metres, y up, looking along z.

    It holds one head in the colours of its parts, ``parts``, and, where there is a UV map, beside it one with the
    picture on it, ``photo``. Each vertex of both has its class id in the attribute ``_PART``; names and colours of the
    classes are in the scene's ``extras``.
    """
    model = FaceModel.load()
    corner_uv = model.uv.reshape(-1, 2)
    # A vertex on a seam of the atlas becomes several: glTF knows one place in the texture for each.
    keys = np.column_stack([model.triangles.ravel(), np.rint(corner_uv * 2**16)])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    source = model.triangles.ravel()[first]
    vertices = (face.shape() * _Y_UP * _METRES)[source]
    triangles = index.reshape(-1, 3)
    parts = vertex_parts(uv_map)[source]
    scene = trimesh.Scene()
    scene.metadata.update(
        {"classes": {str(c.id): {"name": c.name, "colour": list(c.colour)} for c in TAXONOMY.classes}}
    )
    colours = np.column_stack([TAXONOMY.palette[parts], np.full(len(parts), 255)]).astype(np.uint8)
    _add(scene, "parts", vertices, triangles, parts, ColorVisuals(vertex_colors=colours))
    if uv_map is not None:
        places = corner_uv[first] * np.array([1, -1]) + np.array([0, 1])
        material = PBRMaterial(
            baseColorTexture=PilImage.fromarray(uv_map.texture), metallicFactor=0.0, roughnessFactor=1.0
        )
        beside = vertices + np.array([_BESIDE_M, 0, 0])
        _add(scene, "photo", beside, triangles, parts, TextureVisuals(uv=places, material=material))
    return bytes(scene.export(file_type="glb"))


def _add(
    scene: trimesh.Scene,
    name: str,
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    parts: NDArray[np.uint8],
    visual: ColorVisuals | TextureVisuals,
) -> None:
    mesh = trimesh.Trimesh(vertices, triangles, process=False, visual=visual)
    mesh.vertex_attributes[PART] = parts.astype(np.float32)
    scene.add_geometry(mesh, node_name=name, geom_name=name)


@dataclass(frozen=True)
class Face3d:
    """Fits a 3D face to the largest face of a picture and writes it as GLB, every vertex with its part."""

    image: Path
    out: Path
    """GLB file to write."""
    labels: Path | None = None
    """Label map of the picture (PNG with class ids, as `fpan parse` writes them): parts are then what the picture
    shows, hair and glasses included."""
    model: Path | None = None
    """The landmark teacher, face_landmarker_v2.task; without it, the one of the package that ships it."""

    def __call__(self) -> Path:
        """Writes the file and returns its path.

        Raises:
            DataError: there is no face, or picture and label map differ in size.
        """
        image = read_rgb(self.image)
        labels = None if self.labels is None else read_labels(self.labels)
        if labels is not None and labels.shape != image.shape[:2]:
            raise DataError(f"{self.image} and {self.labels} differ in size: {image.shape[:2]} and {labels.shape}")
        mesh = Teacher(task_bytes(self.model)).mesh(image)
        if mesh is None:
            raise DataError(f"no face was found in {self.image}: try a picture in which it is larger")
        face = fit(mesh)
        write_whole(self.out, glb(face, unwrap(image, face, labels=labels)))
        return self.out
