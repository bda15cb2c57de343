"""Turns the head in a picture together with what is about it: hair, hat, ears, neck, background.

Face profiling (Zhu et al. 2016, "Face Alignment Across Large Poses"): the picture beside the head is a sheet with a
depth of its own, which goes on from the edge of the head. It turns with the head, the less the farther away, so that
the picture's border stays where it is and nothing is torn.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from fpan_training.face3d.fit import FaceFit
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.pose import rotation
from fpan_training.face3d.rasterise import rasterise
from fpan_training.face3d.uv import Image, Labels, Mask, UvMap, draw
from fpan_training.taxonomy import TAXONOMY

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class SurroundingsConfig:
    """The sheet about a head."""

    cells: int = 64
    """Of the sheet, along the picture's longer side."""
    flatten_cm: float = 4.0
    """Distance from the head over which the sheet goes from the head's depth at its edge to that of the ears."""
    rigid_cm: float = 3.0
    """Distance from the head up to which the sheet turns with it wholly: hair."""
    still_cm: float = 16.0
    """Distance beyond which it does not turn at all."""


@dataclass(frozen=True)
class Turned:
    """A picture whose head was turned."""

    image: Image
    """RGB, uint8 (H, W, 3)."""
    labels: Labels | None
    """Class ids, uint8 (H, W), 255 in holes; None if there were none."""
    hole: Mask
    """bool (H, W): pixels that the picture did not show before, and nobody completed."""


def turn(
    image: Image,
    labels: Labels | None,
    fit: FaceFit,
    uv_map: UvMap,
    angles_deg: ArrayLike,
    config: SurroundingsConfig | None = None,
) -> Turned:
    """Turns the head in a picture.

    Args:
        image: RGB, uint8 (H, W, 3).
        labels: class ids, uint8 (H, W).
        fit: the face in it.
        uv_map: its UV map, as unwrapped or completed.
        angles_deg: yaw, pitch, roll in degrees that the head is turned to.
        config: the sheet about the head.
    """
    config = config or SurroundingsConfig()
    height, width = image.shape[:2]
    turned = fit.posed(rotation(angles_deg))
    head = draw(uv_map, turned, (height, width))
    before, after, triangles = _sheet(fit, turned, (height, width), config)
    raster = rasterise(after, triangles, height, width)
    # Shoulders that the picture does not show give way: in it, they need not be where the model has them.
    depth = np.where((head.parts == TAXONOMY.id_of("cloth")) & ~head.covered, np.float32(np.inf), head.depth)
    behind = raster.covered & (raster.depth < depth)
    source = np.full((height, width, 2), -1, np.float32)
    source[raster.covered] = raster.interpolate(before[triangles][..., :2])
    moved = cv2.remap(image, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out = np.where(behind[..., None], moved, head.image)
    hole = ~behind & ~head.covered
    out_labels = None
    if labels is not None and head.labels is not None:
        column, row = (np.rint(source[..., axis]).astype(np.int64) for axis in (0, 1))
        carried = labels[row.clip(0, height - 1), column.clip(0, width - 1)]
        out_labels = np.where(behind, carried, head.labels)
        out_labels = np.where(hole, np.uint8(TAXONOMY.ignore), out_labels)
    return Turned(np.asarray(out, np.uint8), out_labels, hole)


def _sheet(
    fit: FaceFit, turned: FaceFit, size: tuple[int, int], config: SurroundingsConfig
) -> tuple[Grid, Grid, NDArray[np.int64]]:
    """The sheet's knots before and after, (N, 3), and its triangles, (T, 3): those that the head does not hide."""
    height, width = size
    raster = rasterise(fit.vertices, FaceModel.load().triangles, height, width)
    distance, nearest = distance_transform_edt(~raster.covered, return_indices=True)
    edge = np.where(raster.covered, raster.depth, 0)[tuple(nearest)]
    step = max(height, width) / config.cells
    rows, columns = (np.linspace(0, side - 1, round(side / step) + 1) for side in size)
    x, y = np.meshgrid(columns, rows)
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    away = distance[row, column] / fit.scale
    before = np.stack([x, y, edge[row, column] * np.exp(-away / config.flatten_cm)], -1).reshape(-1, 3)
    about = turned.rotation.astype(np.float64) @ fit.rotation.T
    moved = (before - fit.translation) @ about.T + turned.translation
    share = (away.ravel() - config.rigid_cm) / (config.still_cm - config.rigid_cm)
    share = 1 - np.clip(share, 0, 1)
    share = share * share * (3 - 2 * share)
    border = ((x == 0) | (y == 0) | (x == width - 1) | (y == height - 1)).ravel()
    share[border & (away.ravel() > 0)] = 0
    after = before + share[:, None] * (moved - before)
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    beside = (away.ravel() > 0)[triangles].any(1)
    return before, after, triangles[beside]
