"""A surgical mask over nose and mouth: a flat texture bent onto the face between its outline, nose and chin."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.cutout import Cutout
from fpan_training.occlusion.frame import FaceFrame, Points
from fpan_training.occlusion.layer import Layer

Field = NDArray[np.float64]
_TOP = (0.35, 0.6)
"""Where the upper edge crosses the nose, from between the eyes (0) to its tip (1)."""
_CORNER = (-0.1, 0.35)
"""Where the upper edge ends at the sides, from the tip of the nose (0) to the mouth (1)."""
_BEND = 1.6
"""Power by which the upper edge falls from the nose to the sides: steep enough to leave the eyes free."""
_UNDER_CHIN = (0.02, 0.09)
"""How far it reaches below the chin, in sizes of the face."""
_WIDTH = (0.86, 1.0)
"""Of the mask, in widths of the face."""
_JAW = 0.85
"""Width of its rounded lower end where it begins, beside the mouth, in widths of the mask."""
_SIDE_SHADE = (0.1, 0.35)
"""Light lost at its sides, which turn away."""
_STRAP = 0.012
"""Width of the straps in sizes of the face."""
_TEXTURE = (144, 96)
"""Width and height in pixels of a mask drawn in code."""
_PLEATS = (0.3, 0.5, 0.7)
_COLOURS = ((150, 200, 225), (235, 235, 235), (35, 35, 38), (130, 190, 170), (225, 170, 185), (60, 75, 120))
"""Of those drawn in code."""


@dataclass(frozen=True)
class _Fit:
    """The mask's edges in the face's own axes, y downwards."""

    knots_y: Field
    knots_x: Field
    """The middle line, from between the eyes to the chin."""
    left: Field
    right: Field
    """The face's outline on either side, (N, 2), by rising y."""
    top: float
    corner: float
    mouth: float
    bottom: float
    width: float

    def middle(self, y: Field) -> Field:
        """Its x at the heights y."""
        return np.interp(y, self.knots_y, self.knots_x)

    def half(self, y: Field, side: Field) -> Field:
        """Distance from the middle line to the mask's edge at the heights y, on a side (N, 2)."""
        y = np.asarray(y, float)
        face = np.abs(np.interp(y, side[:, 1], side[:, 0], right=np.nan) - self.middle(y))
        beside_mouth = abs(np.interp(self.mouth, side[:, 1], side[:, 0]) - float(self.middle(np.array(self.mouth))))
        below = ((y - self.mouth) / (self.bottom - self.mouth)).clip(0, 1)
        round_end = _JAW * beside_mouth * np.sqrt(1 - below**2)
        return np.asarray(np.where(y > self.mouth, np.fmax(face, round_end), face) * self.width)

    def upper(self, u: Field) -> Field:
        """Height of the upper edge, u from -1 at the left to 1 at the right."""
        return np.asarray(self.top + (self.corner - self.top) * np.abs(u).clip(0, 1) ** _BEND)


def surgical_mask(
    frame: FaceFrame, texture: NDArray[np.uint8], shape: tuple[int, int], rng: np.random.Generator
) -> Layer | None:
    """Lays a mask over nose, mouth and chin, and straps to the ears; None where that is outside of the picture.

    Args:
        frame: the face.
        texture: the mask seen from the front, its upper edge above, RGBA uint8 (h, w, 4).
        shape: of the picture, (height, width).
        rng: says how it is worn.
    """
    fit = _fit(frame, rng)
    ys = np.linspace(min(fit.top, fit.corner), fit.bottom, 24)
    outline = np.concatenate(
        [np.column_stack([fit.middle(ys) + sign * fit.half(ys, side), ys]) for sign, side in _sides(fit)]
    )
    axes = np.stack([frame.right, frame.down])
    reach = outline @ axes + frame.centre
    slack = 0.1 * frame.size
    low = np.maximum(np.floor(reach.min(0) - slack).astype(int), 0)
    high = np.minimum(np.ceil(reach.max(0) + slack).astype(int), np.array(shape[::-1]))
    if (high - low).min() < 1:
        return None
    columns, rows = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    local = (np.stack([columns, rows], -1) - frame.centre) @ axes.T
    x, y = local[..., 0], local[..., 1]
    levels = np.linspace(float(y.min()), float(y.max()), 128)
    offset = x - np.interp(y, levels, fit.middle(levels))
    half = np.where(
        offset < 0, np.interp(y, levels, fit.half(levels, fit.left)), np.interp(y, levels, fit.half(levels, fit.right))
    )
    u = offset / np.maximum(half, 1e-3)
    upper = fit.upper(u)
    v = (y - upper) / np.maximum(fit.bottom - upper, 1e-3)
    inside = np.minimum((1 - np.abs(u)) * half, np.minimum(y - upper, fit.bottom - y))
    alpha = np.clip(inside + 0.5, 0, 1).astype(np.float32)
    height, width = texture.shape[:2]
    seen = cv2.remap(
        texture,
        ((u + 1) / 2 * (width - 1)).astype(np.float32),
        (v * (height - 1)).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)
    light = 1 - rng.uniform(*_SIDE_SHADE) * u.clip(-1, 1) ** 2
    colour = seen[..., :3] * light[..., None].astype(np.float32)
    layer = Layer(colour, alpha * seen[..., 3] / 255, int(low[0]), int(low[1]))
    _straps(layer, fit, frame, float(rng.uniform(150, 255)))
    return layer


def drawn_mask(rng: np.random.Generator) -> Cutout:
    """A pleated mask of one colour."""
    width, height = _TEXTURE
    colour = np.array(_COLOURS[int(rng.integers(len(_COLOURS)))]) + rng.normal(0, 8, 3)
    rows = np.linspace(0, 1, height)
    light = np.ones(height)
    for pleat in _PLEATS:
        light -= 0.16 * np.exp(-(((rows - pleat) / 0.02) ** 2))
        light += 0.05 * np.exp(-(((rows - pleat - 0.05) / 0.03) ** 2))
    light[(rows < 0.05) | (rows > 0.95)] -= 0.08
    weave = rng.normal(0, 3, (height, width, 1))
    rgb = np.clip(colour * light[:, None, None] + weave, 0, 255)
    return Cutout(np.dstack([rgb, np.full((height, width), 255.0)]).astype(np.uint8), "mask", "drawn/mask")


def _fit(frame: FaceFrame, rng: np.random.Generator) -> _Fit:
    bridge, nose, mouth, chin = frame.local(np.stack([frame.bridge, frame.nose, frame.mouth, frame.chin]))
    knots = np.stack([bridge, nose, mouth, chin])
    knots[:, 1] = np.maximum.accumulate(knots[:, 1] + np.arange(len(knots)) * 1e-3)
    outline = frame.local(frame.outline)
    closed = np.concatenate([outline, outline[:1]])
    steps = np.linspace(0, len(outline), 8 * len(outline) + 1)
    dense = np.column_stack([np.interp(steps, np.arange(len(closed)), closed[:, i]) for i in range(2)])
    is_left = dense[:, 0] < np.interp(dense[:, 1], knots[:, 1], knots[:, 0])
    left, right = (side[np.argsort(side[:, 1])] for side in (dense[is_left], dense[~is_left]))
    return _Fit(
        knots_y=knots[:, 1],
        knots_x=knots[:, 0],
        left=left,
        right=right,
        top=float(bridge[1] + rng.uniform(*_TOP) * (nose[1] - bridge[1])),
        corner=float(nose[1] + rng.uniform(*_CORNER) * (mouth[1] - nose[1])),
        mouth=float(mouth[1]),
        bottom=float(chin[1] + rng.uniform(*_UNDER_CHIN) * frame.size),
        width=rng.uniform(*_WIDTH),
    )


def _sides(fit: _Fit) -> tuple[tuple[int, Points], tuple[int, Points]]:
    return (-1, fit.left), (1, fit.right)


def _straps(layer: Layer, fit: _Fit, frame: FaceFrame, shade: float) -> None:
    """Draws two straps a side, from the mask's edge to where the ear begins; changes the layer."""
    axes = np.stack([frame.right, frame.down])
    thick = max(1, round(_STRAP * frame.size))
    ear_y = 0.5 * (fit.top + float(fit.knots_y[0]))
    canvas = np.zeros(layer.alpha.shape, np.uint8)
    for sign, side in _sides(fit):
        ear = [np.interp(ear_y, side[:, 1], side[:, 0]), ear_y]
        for y in (fit.corner + 0.02 * frame.size, fit.mouth):
            height = np.array([y])
            edge = [float((fit.middle(height) + sign * fit.half(height, side))[0]), y]
            ends = np.array([edge, ear]) @ axes + frame.centre - [layer.x, layer.y]
            a, b = (tuple(np.rint(end).astype(int).tolist()) for end in ends)
            cv2.line(canvas, a, b, 255, thick, cv2.LINE_AA)
    strap = canvas.astype(np.float32) / 255 * (1 - layer.alpha)
    layer.colour[...] += (np.float32(shade) - layer.colour) * strap[..., None]
    layer.alpha[...] = np.maximum(layer.alpha, strap)
