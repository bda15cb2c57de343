"""One square UV map for the whole head: the face over all of its width, and beneath it a strip for what is hidden.

The face keeps ICT-FaceKit's unwrapping, which has no folds and is symmetric about the middle. Mirroring an atlas turns
the face and swaps the eyes; the other slots of the strip, which are not symmetric, are left where they are.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fpan_training.face3d.atlas import FACE_SHARE, SLOTS, Slot
from fpan_training.face3d.ict import source as ict
from fpan_training.face3d.ict.source import Floats, IctSource

_FACE, _BACK, _GUMS, _TEETH, _EYES, _SOCKETS, _UNUSED = 0, 1, 2, 3, 7, 8, 9
"""Islands: ICT-FaceKit's tiles of UV, and two that are laid out anew."""
_UV_DIGITS = 5
_INSET = 0.004
"""Of the atlas: kept free about every island, so that neighbours do not bleed into one another at 256 pixels."""
_SIGHT = -0.25
"""Eyeballs are kept from this share of their radius behind their centre on: no lid opens wider."""


def place(source: IctSource, kept: NDArray[np.int64]) -> Floats:
    """Atlas coordinates of the corners of triangles.

    Args:
        source: the model.
        kept: (K,) indices of triangles.

    Returns:
        (K, 3, 2) as (u, v) from 0 to 1, v going down.
    """
    uv, corners = source.uv[kept], source.triangles[kept]
    tile = tiles(source)[kept]
    local = np.stack([uv[..., 0] - np.floor(uv[..., 0].mean(1, keepdims=True)), 1 - uv[..., 1]], -1)
    out = local * np.array([1, FACE_SHARE])
    for number, slot in ((_BACK, SLOTS["back"]), (_GUMS, SLOTS["gums"]), (_TEETH, SLOTS["teeth"])):
        out[tile == number] = _fit(local[tile == number], slot)
    # Eyeballs as seen from the front, and their sockets behind them in the same place.
    for name, ball in (("l_eye", ict.LEFT_EYE), ("r_eye", ict.RIGHT_EYE)):
        centre, radius = eyeball(source, ball)
        side = np.sign(source.neutral[corners][..., 0].mean(1)) == np.sign(centre[0])
        mine = np.isin(tile, (_EYES, _SOCKETS)) & side
        front = (source.neutral[corners[mine]] - centre)[..., :2] / (2 * radius) * np.array([1, -1]) + 0.5
        out[mine] = _fit(front, SLOTS[name])
    return np.asarray(out)


def tiles(source: IctSource) -> NDArray[np.int64]:
    """(T,): which island each triangle of the full model lies in."""
    tile = np.floor(source.uv[..., 0].mean(1)).astype(np.int64)
    # Inner shells of the eyeballs, tears and lashes, which the face model leaves out.
    tile[(source.triangles >= ict.TEETH.stop).any(1)] = _UNUSED
    for vertices, number in (
        (ict.EYE_SOCKETS, _SOCKETS), (ict.LEFT_EYE, _EYES), (ict.RIGHT_EYE, _EYES), (ict.MOUTH_SOCKET, _BACK)
    ):  # fmt: skip
        tile[((source.triangles >= vertices.start) & (source.triangles < vertices.stop)).any(1)] = number
    return np.asarray(tile)


def corner_uv(source: IctSource, corners: NDArray[np.int64]) -> Floats:
    """Atlas coordinates of triangles between vertices of the model that need be no triangles of the model itself.

    Along a seam a vertex has more than one place. A triangle takes the island that most of its corners have; a corner
    that is not in it, the places of the island's nearest vertex; and of several places those that lie closest together.

    Args:
        source: the model.
        corners: (T, 3) vertices.

    Returns:
        (T, 3, 2) as (u, v) from 0 to 1, v going down.
    """
    everything = np.arange(len(source.triangles))
    tile, uv = tiles(source), place(source, everything)
    places: dict[int, dict[int, Floats]] = {}
    for number in (_FACE, _BACK, _GUMS, _TEETH, _EYES, _SOCKETS):
        rows = np.column_stack([source.triangles[tile == number].ravel(), uv[tile == number].reshape(-1, 2)])
        rows = np.unique(rows.round(_UV_DIGITS), axis=0)
        vertices, first = np.unique(rows[:, 0].astype(int), return_index=True)
        places[number] = dict(zip(vertices.tolist(), np.split(rows[:, 1:], first[1:]), strict=True))
    member = np.stack([np.isin(corners, list(known)) for known in places.values()])
    chosen = np.array(list(places))[member.sum(-1).argmax(0)]
    out = np.empty((*corners.shape, 2))
    for number, known in places.items():
        vertices = np.array(list(known))
        mine = np.flatnonzero(chosen == number)
        if len(mine):
            nearest = cKDTree(source.neutral[vertices]).query(source.neutral[corners[mine]])[1]
            for index, triple in zip(mine, vertices[nearest], strict=True):
                out[index] = _closest_together([known[int(vertex)] for vertex in triple])
    return out


def _closest_together(candidates: list[Floats]) -> Floats:
    """One place of each list, so that the triangle between them is smallest: (3, 2)."""
    choices = [np.stack(choice) for choice in product(*candidates)]
    return min(choices, key=lambda choice: float(np.linalg.norm(choice - np.roll(choice, 1, 0), axis=1).sum()))


def eyeball(source: IctSource, vertices: range) -> tuple[Floats, float]:
    """Centre (3,) and radius of an eyeball, in centimetres."""
    points = source.neutral[vertices.start : vertices.stop]
    low, high = points.min(0), points.max(0)
    radius = float((high - low)[:2].mean() / 2)
    centre = (low + high) / 2
    centre[2] = low[2] + radius  # the cornea bulges at the front
    return centre, radius


def in_sight(source: IctSource, vertices: range) -> NDArray[np.int64]:
    """Triangles of an eyeball's front."""
    centre, radius = eyeball(source, vertices)
    triangles = source.within(vertices)
    behind = source.neutral[source.triangles[triangles]][..., 2].min(1) < centre[2] + _SIGHT * radius
    return np.asarray(triangles[~behind])


def _fit(local: Floats, slot: Slot) -> Floats:
    low, side = np.array([slot.left, slot.top]) + _INSET, np.array([slot.width, slot.height]) - 2 * _INSET
    return low + np.clip(local, 0, 1) * side
