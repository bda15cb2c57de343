"""Draws a rendered person: labels, colours, light and background."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.face3d.atlas import SLOTS
from fpan_training.face3d.look import Floats, Look
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.rasterise import Raster, rasterise
from fpan_training.face3d.scene import Scene, hat_height
from fpan_training.taxonomy import TAXONOMY

FINER = 2
"""Samples a pixel and side that colours are averaged over, and labels voted."""
_IRIS_SHARE, _PUPIL_SHARE = 0.195, 0.08
"""Radii in shares of an eye's slot, which is two radii of the eyeball wide."""
_COLLAR_CM, _COLLAR_SLOPE = 11.2, -0.33
"""Height of the collar where the shoulders begin, and how it falls towards the front."""
_NECKLACE_CM, _NECKLACE_WIDTH_CM = 8.6, 0.28
_HAIRLINE = 0.095
"""Row of the atlas, from the top, that the hairline crosses in the middle of the forehead."""
_TEXTURE = 128
_ID = {c.name: c.id for c in TAXONOMY.classes}

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Pixels:
    """The finer pixels that show the head."""

    uv: NDArray[np.float32]
    place: NDArray[np.float32]
    """(P, 3): where on the head, in the model's frame."""


def shade(look: Look, scene: Scene, rotation: Floats, scale: float, origin: Floats, size: int) -> tuple[Image, Labels]:
    """The picture, RGB uint8 (size, size, 3), and its labels, uint8 (size, size).

    Args:
        look: the person.
        scene: its geometry.
        rotation: (3, 3) of the head.
        scale: pixels a centimetre.
        origin: (3,) of the model's frame, in pixels.
        size: of the picture, in pixels.
    """
    model = FaceModel.load()
    rng = np.random.default_rng(look.seed)
    side = size * FINER
    parts = [(scene.head, model.triangles), *((mesh.vertices, mesh.triangles) for mesh in scene.worn)]
    counts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    triangles = np.concatenate([t + start for (_, t), start in zip(parts, counts, strict=False)])
    turned = np.concatenate([vertices for vertices, _ in parts]) @ rotation.T
    # The centre of a fine pixel lies between those of the picture's.
    vertices = (turned * scale + origin) * FINER + np.array([(FINER - 1) / 2, (FINER - 1) / 2, 0])
    raster = rasterise(vertices, triangles, side, side)
    shown = raster.covered
    which = raster.triangle[shown]
    head = which < len(model.triangles)
    pixels = _Pixels(_of_head(raster, head, model.uv), _of_head(raster, head, scene.skin[model.triangles]))

    labels = np.zeros((side, side), np.uint8)
    colours = _background(look, rng, side)
    own = np.empty(len(which), np.uint8)
    albedo = np.empty((len(which), 3), np.float32)
    own[head] = _labels(look, model, pixels)
    albedo[head] = _albedo(look, pixels, own[head], rng)
    owner = np.repeat(np.arange(len(parts)), [len(t) for _, t in parts])[which]
    for number, mesh in enumerate(scene.worn, 1):
        own[owner == number] = mesh.label
        albedo[owner == number] = mesh.colour
    hair = ~head & (own == _ID["hair"])
    if hair.any():
        columns = np.nonzero(shown)[1][hair]
        albedo[hair] *= (0.75 + 0.5 * rng.random(side).astype(np.float32))[columns, None]
    labels[shown] = own
    light = _light(look, raster.interpolate(_normals(turned, triangles)[triangles]), own)
    colours[shown] = albedo * light[:, :1] + light[:, 1:]
    fine = np.clip(colours, 0, 1)
    image = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    image = image + rng.normal(0, rng.uniform(0, 0.015), image.shape)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8), _vote(labels)


def _of_head(raster: Raster, head: NDArray[np.bool_], corner_values: NDArray[Any]) -> NDArray[np.float32]:
    covered = raster.covered
    weights = raster.barycentric[covered][head]
    values = corner_values[raster.triangle[covered][head]].astype(np.float32)
    return np.asarray(np.einsum("pk,pkd->pd", weights, values))


def _labels(look: Look, model: FaceModel, pixels: _Pixels) -> Labels:
    labels = model.parts_at(pixels.uv)
    u, v = pixels.uv.T
    y, z = pixels.place[:, 1], pixels.place[:, 2]
    skin = np.isin(labels, [_ID[name] for name in ("skin", "l_brow", "r_brow")])
    if look.bald:
        labels = np.where(labels == _ID["hair"], np.uint8(_ID["skin"]), labels)
    else:
        hairline = _HAIRLINE + np.interp(u, np.linspace(0.15, 0.85, len(look.fringe)), look.fringe)
        labels = np.where(skin & (v < hairline), np.uint8(_ID["hair"]), labels)
    if look.hat is not None:
        on_head = np.isin(labels, [_ID[name] for name in ("hair", "skin", "l_ear", "r_ear")])
        labels = np.where(on_head & (hat_height(pixels.place, look) > 0), np.uint8(_ID["hat"]), labels)
    slope = _COLLAR_SLOPE * z
    below = y - (_COLLAR_CM - look.collar_cm + slope)
    body = np.isin(labels, [_ID["neck"], _ID["cloth"]])
    labels = np.where(body & (below > 0), np.uint8(_ID["cloth"]), np.where(body, np.uint8(_ID["neck"]), labels))
    if look.necklace:
        around = np.abs(y - (_NECKLACE_CM + slope)) < _NECKLACE_WIDTH_CM
        labels = np.where(around & (labels == _ID["neck"]), np.uint8(_ID["neck_l"]), labels)
    return np.asarray(labels, np.uint8)


def _albedo(look: Look, pixels: _Pixels, labels: Labels, rng: np.random.Generator) -> NDArray[np.float32]:
    u, v = pixels.uv.T
    spots, strands = _noise(rng, 24, 24), _noise(rng, 96, 6)
    skin = look.skin * (1 + 0.16 * (_at(spots, u, v)[:, None] - 0.5))
    strand = 0.6 + 0.8 * _at(strands, u, v)[:, None]
    hair = look.hair * strand
    if look.beard:
        lower = np.clip((pixels.place[:, 1] - 1.5) / 2, 0, 1) * (np.abs(pixels.place[:, 0]) < 8)
        skin = skin + (look.beard * lower)[:, None] * (hair - skin)
    palette = np.tile(look.skin, (len(TAXONOMY.classes), 1))
    palette[_ID["u_lip"]], palette[_ID["l_lip"]] = look.lips * 0.9, look.lips
    palette[_ID["neck_l"]], palette[_ID["cloth"]] = look.metal, look.cloth
    palette[_ID["hat"]] = look.hat if look.hat is not None else look.cloth
    out = palette[labels]
    as_skin = np.isin(labels, [_ID[name] for name in ("skin", "nose", "neck", "l_ear", "r_ear")])
    out = np.where(as_skin[:, None], skin, out)
    brows = np.isin(labels, [_ID["l_brow"], _ID["r_brow"]])[:, None]
    out = np.where(brows, 0.3 * skin + 0.7 * look.hair * (0.5 + 0.5 * strand), out)
    out = np.where((labels == _ID["hair"])[:, None], hair, out)
    mouth = labels == _ID["mouth"]
    teeth = mouth & (v >= SLOTS["teeth"].top) & (u >= SLOTS["teeth"].left)
    out[mouth] = (0.35, 0.08, 0.09)
    out[teeth] = (0.9, 0.87, 0.8)
    for name in ("l_eye", "r_eye"):
        slot, mine = SLOTS[name], labels == _ID[name]
        across, up = (u[mine] - slot.left) / slot.width - 0.5, (v[mine] - slot.top) / slot.height - 0.5
        radius = np.hypot(across, up)[:, None]
        white = np.array([0.92, 0.9, 0.88]) * (1 - 0.5 * np.clip(-up * 3, 0, 1))[:, None]
        iris = np.where(radius < _PUPIL_SHARE, 0.03, look.iris * (0.6 + 2 * radius))
        out[mine] = np.where(radius < _IRIS_SHARE, iris, white)
    return np.asarray(out, np.float32)


def _light(look: Look, normals: NDArray[np.float32], labels: Labels) -> NDArray[np.float32]:
    """What albedo is multiplied by, and the shine that is added: (P, 2)."""
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    # Sheets are seen from either side.
    normals = np.where(normals[:, 2:] > 0, -normals, normals)
    facing = normals @ look.light
    diffuse = np.clip(facing, 0, 1)
    half = look.light + np.array([0, 0, -1])
    shine = np.clip(normals @ (half / np.linalg.norm(half)), 0, 1) ** 30
    strength = np.full(len(TAXONOMY.classes), 0.08)
    strength[[_ID[name] for name in ("cloth", "hat", "mouth")]] = 0.0
    strength[[_ID[name] for name in ("eye_g", "ear_r", "neck_l", "l_eye", "r_eye")]] = 0.35
    sky = 0.15 * np.clip(-normals[:, 1], -1, 1)
    inside = np.where(labels == _ID["mouth"], 0.6, 1.0)
    lit = (look.ambient + sky + (1.05 - look.ambient) * diffuse) * inside
    return np.stack([lit, strength[labels] * shine], -1).astype(np.float32)


def _normals(vertices: Floats, triangles: NDArray[np.int64]) -> NDArray[np.float32]:
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    sums = [np.bincount(triangles.ravel(), np.repeat(faces[:, i], 3), len(vertices)) for i in range(3)]
    normals = np.stack(sums, -1)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9), np.float32)


def _background(look: Look, rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Blurred colours and a gradient, float (side, side, 3)."""
    cells = int(rng.integers(2, 9))
    blobs = rng.random((cells, cells, 3)).astype(np.float32) * 0.8 + 0.1
    scene = cv2.resize(blobs, (side, side), interpolation=cv2.INTER_CUBIC)
    plain = rng.random(3).astype(np.float32)
    top, bottom = rng.uniform(0.6, 1.1, 2).tolist()
    shade = np.linspace(top, bottom, side, dtype=np.float32)[:, None, None]
    mix = np.float32(rng.uniform(0, 1))
    return np.ascontiguousarray((plain + mix * (scene - plain)) * shade)


def _noise(rng: np.random.Generator, columns: int, rows: int) -> NDArray[np.float32]:
    cells = rng.random((rows, columns)).astype(np.float32)
    return np.asarray(cv2.resize(cells, (_TEXTURE, _TEXTURE), interpolation=cv2.INTER_LINEAR), np.float32)


def _at(texture: NDArray[np.float32], u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float32]:
    column, row = ((value * _TEXTURE).astype(np.int64).clip(0, _TEXTURE - 1) for value in (u, v))
    return np.asarray(texture[row, column])


def _vote(labels: Labels) -> Labels:
    """The label that most of a pixel's four samples have; of two pairs, that of the first sample."""
    a, b, c, d = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    rest = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.asarray(np.where((a == b) | (a == c) | (a == d), a, rest), np.uint8)
