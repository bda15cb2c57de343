"""From a picture to the UV map of a fitted face, and back to a picture at any pose."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from fpan_training.face3d import atlas
from fpan_training.face3d.fit import FaceFit
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.pose import rotation
from fpan_training.face3d.rasterise import Raster, rasterise
from fpan_training.taxonomy import TAXONOMY

UV_SIZE = 256
"""Side of a UV map, in texels."""
_GRAZING_COSINE = 0.2
"""Of the angle between surface and line of sight, below which a texel's pixels are smeared: 78 degrees and more."""
_DEPTH_TOLERANCE_CM = 0.25
"""By which a texel may lie behind what its pixel shows and still count as seen."""

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class UvMap:
    """What a picture shows of a face, laid out flat as :mod:`.atlas` says."""

    texture: Image
    """RGB, uint8 (S, S, 3); where nothing is visible, the nearest visible colour."""
    labels: Labels | None
    """Class ids, uint8 (S, S), 255 where unknown or not visible; None if the picture had no labels."""
    visible: Mask
    """bool (S, S): texels that the picture shows, or that were completed."""

    @property
    def size(self) -> int:
        """Texels a side."""
        return len(self.visible)

    def mirror(self) -> "UvMap":
        """The UV map of the mirrored face."""
        labels = self.labels
        if labels is not None:
            partner = np.arange(256, dtype=np.uint8)
            partner[[c.id for c in TAXONOMY.classes]] = [c.partner for c in TAXONOMY.classes]
            labels = partner[atlas.mirror(labels)]
        return UvMap(atlas.mirror(self.texture), labels, atlas.mirror(self.visible))


@dataclass(frozen=True)
class Rendered:
    """A UV map drawn on a face."""

    image: Image
    """RGB, uint8 (H, W, 3); black where there is no face."""
    labels: Labels | None
    """Class ids, uint8 (H, W); 255 where there is no face or its texel is not known; None if the map has none."""
    covered: Mask
    """bool (H, W): pixels that show a visible texel."""
    parts: Labels
    """The model's own class ids, uint8 (H, W), whatever the map says; 255 where there is no face."""
    depth: NDArray[np.float32]
    """float32 (H, W): z of the face, in pixels; infinity where there is none."""


@lru_cache(maxsize=4)
def texels(size: int) -> Raster:
    """What lies at each texel of an atlas of ``size``: triangle of the model and place on it."""
    model = FaceModel.load()
    # Eyeballs lie before their sockets, which share their place.
    depth = model.neutral[model.triangles][..., 2:]
    corners = np.concatenate([model.uv * size - 0.5, depth], -1).reshape(-1, 3)
    return rasterise(corners, np.arange(len(corners)).reshape(-1, 3), size, size)


def unwrap(image: Image, fit: FaceFit, size: int = UV_SIZE, labels: Labels | None = None) -> UvMap:
    """Lays a picture of a face out flat.

    A texel is visible if it lies in the picture, faces the camera, is hidden by no other part of the head, and, where
    there are labels, is not background there: the face does not reach as far as the model then.

    Args:
        image: RGB, uint8 (H, W, 3).
        fit: the face in it.
        size: texels a side.
        labels: class ids of the picture, uint8 (H, W).
    """
    model, layout = FaceModel.load(), texels(size)
    height, width = image.shape[:2]
    on_mesh = layout.covered
    places = np.full((size, size, 3), np.nan, np.float32)
    places[on_mesh] = layout.interpolate(fit.vertices[model.triangles])
    normal_z = np.zeros((size, size), np.float32)
    normal_z[on_mesh] = layout.interpolate(model.normals(fit.vertices)[model.triangles])[:, 2]
    x, y, z = (np.nan_to_num(places[..., axis], nan=-1.0) for axis in range(3))
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    within = on_mesh & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = column.clip(0, width - 1), row.clip(0, height - 1)
    depth = rasterise(fit.vertices, model.triangles, height, width).depth[row, column]
    visible = within & (-normal_z > _GRAZING_COSINE) & (z < depth + _DEPTH_TOLERANCE_CM * fit.scale)
    # A pixel beside the head has no depth: it shows none of it.
    visible &= np.isfinite(depth)
    flat_labels = None
    if labels is not None:
        flat_labels = labels[row, column]
        visible &= flat_labels != TAXONOMY.background
        flat_labels = np.where(visible, flat_labels, np.uint8(TAXONOMY.ignore))
    texture = np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    return filled(UvMap(texture, flat_labels, visible))


def filled(uv_map: UvMap) -> UvMap:
    """The same with the colour of the nearest visible texel where none is visible; black if none is at all."""
    if not uv_map.visible.any():
        return replace(uv_map, texture=np.zeros_like(uv_map.texture))
    nearest = distance_transform_edt(~uv_map.visible, return_distances=False, return_indices=True)
    return replace(uv_map, texture=uv_map.texture[tuple(nearest)])


def render(uv_map: UvMap, fit: FaceFit, angles_deg: ArrayLike, size: tuple[int, int]) -> Rendered:
    """Draws a face at other angles, at the scale and place of its fit.

    Args:
        uv_map: its colours and parts.
        fit: its shape, scale and place.
        angles_deg: yaw, pitch, roll in degrees; ``fit.angles`` gives the original picture back.
        size: height and width of the picture, in pixels.
    """
    return draw(uv_map, fit.posed(rotation(angles_deg)), size)


def draw(uv_map: UvMap, fit: FaceFit, size: tuple[int, int]) -> Rendered:
    """Draws a face where it is; as :func:`render` does."""
    model = FaceModel.load()
    height, width = size
    raster = rasterise(fit.vertices, model.triangles, height, width)
    shown = raster.covered
    at = raster.interpolate(model.uv) * uv_map.size
    column, row = (at[:, axis].astype(np.int64).clip(0, uv_map.size - 1) for axis in (0, 1))
    image = np.zeros((height, width, 3), np.uint8)
    image[shown] = _bilinear(uv_map.texture, at - 0.5)
    covered = np.zeros((height, width), bool)
    covered[shown] = uv_map.visible[row, column]
    labels = None
    if uv_map.labels is not None:
        labels = np.full((height, width), TAXONOMY.ignore, np.uint8)
        labels[shown] = uv_map.labels[row, column]
    parts = np.full((height, width), TAXONOMY.ignore, np.uint8)
    parts[shown] = model.parts_at(at / uv_map.size)
    return Rendered(image, labels, covered, parts, raster.depth)


def _bilinear(texture: Image, at: NDArray[np.floating[Any]]) -> Image:
    """Colours at places (P, 2) as (x, y): uint8 (P, 3)."""
    # OpenCV's maps may be no longer than 32767 a side: a square of them holds all.
    side = int(np.ceil(np.sqrt(len(at)))) or 1
    places = np.zeros((side * side, 2), np.float32)
    places[: len(at)] = at
    sampled = cv2.remap(texture, places.reshape(side, side, 2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled.reshape(-1, 3)[: len(at)], np.uint8)
