"""The geometry of a rendered person: the head of the face model, and what it wears."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan_training.face3d.look import Floats, Look
from fpan_training.face3d.model import FaceModel
from fpan_training.taxonomy import TAXONOMY

_CLOTH_CM, _HAT_CM = 0.5, 0.9
"""How far clothes and hats stand off the skin."""
HAT_FRONT_CM = -6.6
"""Height of a hat's edge above the forehead (y)."""
_BRIM_RADII_CM, _BRIM_CENTRE_CM = (8.4, 10.2), 0.6
"""Half axes of a hat where it meets its brim, to the side and to the front, and the centre's z."""
_GLASS_RADII_CM, _GLASS_FORWARD_CM, _FRAME_CM = (2.5, 2.0), 2.1, 0.16
_TEMPLE_END_CM = (7.4, -1.6, 0.5)
"""Where the arms of glasses end, behind the person's left ear."""
_CURTAIN_RADII_CM, _CURTAIN_TOP_CM = (8.6, 9.6), -7.5
_CURTAIN_OPEN_DEG = 105.0
"""Long hair hangs all round the head but for the front, this far to either side from the back."""
_TUBE_SIDES = 6


@dataclass(frozen=True)
class Mesh:
    """Something worn: one class, one colour."""

    vertices: Floats
    """(V, 3) in the model's frame, centimetres."""
    triangles: NDArray[np.int64]
    """(T, 3)."""
    label: int
    colour: Floats
    """(3,) from 0 to 1."""


@dataclass(frozen=True)
class Scene:
    """A head and what it wears, in the model's frame."""

    skin: Floats
    """(V, 3): the face model's vertices without hair, hat or clothes: what landmarks are of."""
    head: Floats
    """(V, 3): the same with the thickness of hair, hat and clothes."""
    worn: tuple[Mesh, ...]


def build(look: Look) -> Scene:
    """The geometry of a person."""
    model = FaceModel.load()
    skin = model.vertices(look.identity, look.expression).astype(np.float64)
    normals = model.normals(skin).astype(np.float64)
    part = {name: model.parts == TAXONOMY.id_of(name) for name in ("hair", "cloth")}
    thickness = np.where(part["hair"], look.hair_cm, 0.0) + np.where(part["cloth"], _CLOTH_CM, 0.0)
    if look.hat is not None:
        above = hat_height(skin, look)
        under = part["hair"] | (above > 0)
        thickness = np.where(under & (above > 0), _HAT_CM + 0.12 * above, thickness)
    head = skin + normals * thickness[:, None]
    worn = []
    if look.long_cm:
        worn.append(_curtain(look))
    if look.hat is not None and look.hat_brim_cm:
        worn.append(_brim(look, look.hat))
    if look.glasses is not None:
        worn += _glasses(model, skin, look, look.glasses)
    for name, present in zip(("r_ear", "l_ear"), look.earrings, strict=True):
        if present:
            ear = skin[model.parts == TAXONOMY.id_of(name)]
            lobe = ear[ear[:, 1].argmax()] + np.array([0, 0.8 * look.earring_cm, -0.2])
            worn.append(_ball(lobe, look.earring_cm, TAXONOMY.id_of("ear_r"), look.metal))
    return Scene(skin, head, tuple(worn))


def hat_height(points: NDArray[np.floating[Any]], look: Look) -> Floats:
    """How far points (..., 3) lie above the edge of a hat, in centimetres."""
    front = _BRIM_CENTRE_CM - _BRIM_RADII_CM[1]
    return np.asarray(HAT_FRONT_CM + look.hat_tilt * (points[..., 2] - front) - points[..., 1])


def _brim(look: Look, colour: Floats) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, 49)
    rings = []
    for wider in (-0.6, look.hat_brim_cm):
        x = (_BRIM_RADII_CM[0] + wider) * np.sin(angle)
        z = (_BRIM_RADII_CM[1] + wider) * np.cos(angle) + _BRIM_CENTRE_CM
        edge = np.stack([x, np.zeros_like(x), z], -1)
        edge[:, 1] = hat_height(edge, look)
        rings.append(edge)
    return Mesh(*_grid(np.stack(rings)), TAXONOMY.id_of("hat"), colour * 0.85)


def _curtain(look: Look) -> Mesh:
    rng = np.random.default_rng(look.seed)
    angle = np.deg2rad(np.linspace(-_CURTAIN_OPEN_DEG, _CURTAIN_OPEN_DEG, 41))
    down = np.linspace(0, 1, 13)[:, None]
    waves = np.interp(angle, np.linspace(angle[0], angle[-1], 12), rng.uniform(-0.5, 0.5, 12))
    out = np.sqrt(np.clip(down * 4, 0.35, 1)) + (look.hair_cm / 9 + 0.08 * waves) * np.clip(down * 2, 0, 1)
    ends = look.long_cm + np.interp(angle, np.linspace(angle[0], angle[-1], 9), rng.uniform(-1.2, 1.2, 9))
    x = _CURTAIN_RADII_CM[0] * out * np.sin(angle)
    z = _CURTAIN_RADII_CM[1] * out * np.cos(angle)
    y = _CURTAIN_TOP_CM + down * (ends - _CURTAIN_TOP_CM)
    return Mesh(*_grid(np.stack(np.broadcast_arrays(x, y, z), -1)), TAXONOMY.id_of("hair"), look.hair)


def _glasses(model: FaceModel, skin: Floats, look: Look, colour: Floats) -> list[Mesh]:
    label = TAXONOMY.id_of("eye_g")
    angle = np.linspace(0, 2 * np.pi, 33)
    # A shape between an ellipse and a rectangle.
    x, y = (np.sign(f) * np.abs(f) ** 0.7 for f in (np.cos(angle), np.sin(angle)))
    meshes, bridge = [], []
    for side, name in ((1, "l_eye"), (-1, "r_eye")):
        eye = skin[model.parts == TAXONOMY.id_of(name)]
        centre = (eye.min(0) + eye.max(0)) / 2
        centre[2] = eye[:, 2].min() - _GLASS_FORWARD_CM
        bend = 0.12 * _GLASS_RADII_CM[0] * (1 + side * x)
        rim = centre + np.stack([_GLASS_RADII_CM[0] * x, _GLASS_RADII_CM[1] * y + 0.3, bend], -1)
        meshes.append(Mesh(*_tube(rim, _FRAME_CM), label, colour))
        outer, inner = rim[(side * x).argmax()], rim[(side * x).argmin()]
        bridge.append(inner)
        end = np.array(_TEMPLE_END_CM) * np.array([side, 1, 1])
        corner = outer + np.array([0.4 * side, 0, 0.6])
        meshes.append(Mesh(*_tube(np.stack([outer, corner, end]), _FRAME_CM), label, colour))
        if look.sunglasses:
            fan = np.stack([np.zeros(32, int), np.arange(1, 33), np.arange(2, 34)], -1)
            meshes.append(Mesh(np.concatenate([rim.mean(0, keepdims=True), rim]), fan, label, colour * 0.3))
    return [*meshes, Mesh(*_tube(np.stack(bridge), _FRAME_CM), label, colour)]


def _ball(centre: Floats, radius: float, label: int, colour: Floats) -> Mesh:
    around, along = np.linspace(0, 2 * np.pi, 13), np.linspace(0, np.pi, 9)[:, None]
    unit = np.stack(
        np.broadcast_arrays(np.sin(along) * np.cos(around), np.cos(along), np.sin(along) * np.sin(around)), -1
    )
    return Mesh(*_grid(centre + radius * unit), label, colour)


def _tube(line: Floats, radius: float) -> tuple[Floats, NDArray[np.int64]]:
    """A tube along a line (N, 3)."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, np.where(np.abs(along[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    third = np.cross(along, across)
    angle = np.linspace(0, 2 * np.pi, _TUBE_SIDES + 1)[None, :, None]
    ring = np.cos(angle) * across[:, None] + np.sin(angle) * third[:, None]
    return _grid(line[:, None] + radius * ring)


def _grid(points: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The vertices and triangles of a sheet of points (R, C, 3)."""
    index = np.arange(points.shape[0] * points.shape[1]).reshape(points.shape[:2])
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    return points.reshape(-1, 3), np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
