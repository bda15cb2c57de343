"""What is told of a pasted face in numbers and words."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract import AlignmentTemplate, Taxonomy
from fpan.contract.face import Part, Window
from fpan.contract.figures import FACE_GROUP
from fpan.serve.pipeline.align.crop import Crop
from fpan.serve.pipeline.types import Labels

_SHARP_SIDE = 96
"""Longer side in pixels at which sharpness is measured."""
_BLUR = 11
"""Pixels that are averaged, along one axis, where it is measured."""
_ROWS_PIXELS = 2**20
"""Pixels that are counted at once: counting needs 16 bytes for each."""


def sums_by_class(labels: Labels, confidence: Labels) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of pixels and sum of the confidence of each of 256 classes.

    Goes by rows, since counting makes int64 and float64 copies of all that it is given at once.
    """
    area, sureness = np.zeros(256, np.int64), np.zeros(256, np.float64)
    rows = max(1, _ROWS_PIXELS // max(1, labels.shape[1]))
    for top in range(0, len(labels), rows):
        part = labels[top : top + rows].ravel()
        area += np.bincount(part, minlength=256)
        sureness += np.bincount(part, weights=confidence[top : top + rows].ravel(), minlength=256)
    return area, sureness


def part_facts(
    labels: Labels,
    area: NDArray[np.int64],
    sureness: NDArray[np.float64],
    taxonomy: Taxonomy,
    origin: tuple[int, int],
    kept: frozenset[int] | None,
) -> tuple[Part, ...]:
    """Area, box and mean confidence of every kept class but the background that a label map has.

    Args:
        area: of each class; ``sureness`` alike: what :func:`sums_by_class` gives.
        origin: x and y of the label map's first pixel in the picture.
        kept: ids of the classes that are told; None for all.
    """
    x0, y0 = origin
    parts = []
    for c in taxonomy.classes:
        if c.id == taxonomy.background or not area[c.id] or (kept is not None and c.id not in kept):
            continue
        # Not by cv2.compare, to which a map of one pixel is a number.
        left, top, width, height = cv2.boundingRect((labels == c.id).view(np.uint8))
        box = (x0 + left, y0 + top, x0 + left + width, y0 + top + height)
        parts.append(Part(c.id, c.name, int(area[c.id]), box, float(sureness[c.id] / area[c.id] / 255)))
    return tuple(parts)


def sharpness(crop: Crop, template: AlignmentTemplate | None) -> float:
    """How much fine structure a face has, 0 (blurred) to 1: 1 less the blur effect of Crete et al. (2007).

    That is how little the face changes when it is blurred once more. It is measured across the face's box alone, at no
    more than :data:`_SHARP_SIDE` pixels: what is finer tells a portrait from a good portrait, and no faces from blurs.

    Args:
        crop: of the face.
        template: where the crop has the face; None: anywhere.

    Source: "The blur effect: perception and estimation with a new no-reference perceptual blur metric", SPIE 6492.
    """
    x0, y0, x1, y1 = (round(side * crop.size) for side in (template.box if template else (0, 0, 1, 1)))
    face = cv2.cvtColor(crop.pixels[max(y0, 0) : y1, max(x0, 0) : x1], cv2.COLOR_RGB2GRAY)
    if max(face.shape) > _SHARP_SIDE:
        shrink = _SHARP_SIDE / max(face.shape)
        face = cv2.resize(face, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    grey, inner = face.astype(np.float32), (slice(2, face.shape[0] - 1), slice(2, face.shape[1] - 1))
    blurs = []
    for along in ((1, 0), (0, 1)):
        size = tuple(_BLUR if step else 1 for step in along)
        blurred = cv2.blur(grey, size, borderType=cv2.BORDER_REFLECT)
        steps, left = (np.abs(cv2.Sobel(g, -1, *along, borderType=cv2.BORDER_REFLECT))[inner] for g in (grey, blurred))
        total = float(steps.sum())
        blurs.append(1 - float(np.maximum(0, steps - left).sum()) / total if total else 1.0)
    return 1 - max(blurs)


def cut_parts(crop: Crop, labels: Labels, width: int, height: int, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Names of the parts that reach the crop's border where the photo goes on beyond it."""
    last = crop.size - 1
    along, first = np.arange(crop.size), np.zeros(crop.size, int)
    sides = ((along, first), (along, first + last), (first, along), (first + last, along))
    ring = np.concatenate([np.stack(side, 1) for side in sides])
    beyond = ring + np.where(ring == 0, -1, np.where(ring == last, 1, 0))
    inverse = cv2.invertAffineTransform(crop.matrix)
    at = beyond @ inverse[:, :2].T + inverse[:, 2]
    goes_on = (at > -0.5).all(1) & (at[:, 0] < width - 0.5) & (at[:, 1] < height - 0.5)
    found = np.unique(labels[ring[goes_on, 1], ring[goes_on, 0]])
    return tuple(c.name for c in taxonomy.classes if c.id in found and c.id != taxonomy.background)


def reaches_border(window: Window, picture: tuple[int, int], labels: Labels, taxonomy: Taxonomy) -> bool:
    """Whether the face itself lies on the picture's border.

    Args:
        picture: (width, height).
        labels: of the window, in the picture's frame.
    """
    face_ids = [taxonomy.id_of(n) for n in taxonomy.groups.get(FACE_GROUP, ())]
    return bool(np.isin(_border(window, picture, labels), face_ids).any())


def _border(window: Window, picture: tuple[int, int], labels: Labels) -> Labels:
    """Labels of the window's pixels that lie on the picture's own border."""
    x0, y0, x1, y1 = window
    sides = []
    if y0 == 0:
        sides.append(labels[0])
    if x0 == 0:
        sides.append(labels[:, 0])
    if y1 == picture[1]:
        sides.append(labels[-1])
    if x1 == picture[0]:
        sides.append(labels[:, -1])
    return np.concatenate(sides) if sides else np.empty(0, np.uint8)
