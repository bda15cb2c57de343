"""Completing UV maps without a network: from the mirror image, else from the nearest place on the head. It is the
baseline that the network is held against, what the network starts from, and what completes the labels.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from fpan_training.face3d.atlas import mirror
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.uv import texels
from fpan_training.taxonomy import TAXONOMY

Texture = NDArray[np.uint8]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def mirror_texture(texture: Texture, visible: Mask) -> Texture:
    """Fills a texture's holes: uint8 (S, S, 3), with bool (S, S) saying what is to be believed, to uint8 (S, S, 3).

    A hole takes the colour of its mirror texel where that is visible, else of the nearest filled place on the head.
    """
    return _fill(texture, mirror(texture), visible, mirror(visible))


def mirror_labels(labels: Labels, visible: Mask) -> Labels:
    """Fills a label map's holes, uint8 (S, S), as :func:`mirror_texture` does; left and right are exchanged in what
    comes from the other side. Where a label is 255, nothing is known, visible or not.
    """
    known = visible & (labels != TAXONOMY.ignore)
    return _fill(labels, TAXONOMY.partner_table[mirror(labels)], known, mirror(known))


def nearest(values: NDArray[np.uint8], known: Mask) -> NDArray[np.uint8]:
    """Gives every texel, uint8 (S, S) or (S, S, C), the value of the known one nearest to it on the mean head; without
    any known one, all stays. Not the nearest in the map: the back of the head lies beside the teeth there.
    """
    if known.all() or not known.any():
        return values.copy()
    places = _places(len(known))
    _, index = cKDTree(places[known]).query(places[~known])
    filled = values.copy()
    filled[~known] = values[known][index]
    return filled


@lru_cache(maxsize=4)
def _places(size: int) -> NDArray[np.float32]:
    """Where each texel lies on the mean head, (S, S, 3) in centimetres; beside the atlas as at its next texel."""
    model, layout = FaceModel.load(), texels(size)
    places = np.zeros((size, size, 3), np.float32)
    places[layout.covered] = layout.interpolate(model.neutral[model.triangles])
    beside = distance_transform_edt(~layout.covered, return_distances=False, return_indices=True)
    return np.asarray(places[tuple(beside)])


def _fill(values: NDArray[np.uint8], mirrored: NDArray[np.uint8], known: Mask, mirror_known: Mask) -> NDArray[np.uint8]:
    other = mirror_known & ~known
    filled = values.copy()
    filled[other] = mirrored[other]
    return nearest(filled, known | mirror_known)
