"""Necklaces drawn along a neck: chains, pearls, beads, ribbons and pendants.

CelebAMask-HQ's label maps hardly show any: its parts are painted in the order of the ids, the neck over the necklace,
so that of most necklaces only what reaches beyond the neck's label is left. For cutting out that is too little.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.paste.anchors import Head
from fpan_training.occlusion.frame import Points
from fpan_training.occlusion.layer import Layer

Image = NDArray[np.uint8]
Kind = Literal["chain", "pearls", "beads", "ribbon", "strands"]
KINDS: tuple[Kind, ...] = ("chain", "pearls", "beads", "ribbon", "strands")
_WEIGHTS = (0.4, 0.2, 0.2, 0.1, 0.1)
_METALS = ((214, 176, 92), (226, 196, 130), (205, 205, 210), (170, 172, 180), (205, 150, 125), (120, 100, 70))
_PEARLS = ((238, 230, 218), (246, 244, 240), (224, 200, 186), (96, 96, 104))
_LEAST_NECK = 0.42
"""Width of the neck, in distances from eyes to chin, that is seen at least."""
_LEAST_SEEN = 0.35
"""Length of a necklace that is to be seen at least, in the same."""
_LEAST_SHARE = 0.4
"""Share of what lies in the picture that is to be seen at least: the rest is under hair or clothes."""
_END = (0.0, 0.35)
"""Where its ends go behind the neck, from the highest place where the neck is seen to the lowest."""
_DROP: dict[Kind, tuple[float, float]] = {
    "chain": (0.18, 0.75),
    "pearls": (0.12, 0.45),
    "beads": (0.15, 0.6),
    "ribbon": (0.1, 0.22),
    "strands": (0.15, 0.4),
}
"""How far the lowest point lies below the ends, in distances from eyes to chin."""
_THICK: dict[Kind, tuple[float, float]] = {
    "chain": (0.01, 0.03),
    "pearls": (0.028, 0.075),
    "beads": (0.022, 0.085),
    "ribbon": (0.025, 0.09),
    "strands": (0.02, 0.045),
}
"""Of the band, in the same."""
_LABEL_THICK = 0.022
"""Least thickness of a label, in the same: that of those which annotators draw on fine chains."""
_CHEST = 42.0
"""Difference of colour from the neck's, in levels, up to which what is labelled background beside it is taken for the
chest, which CelebAMask-HQ does not label."""
_P_OVER_CLOTH = 0.4
_COLLAR = 0.65
"""Share of its half width, to both sides, in which it lies over clothes."""
_FINE = 4
"""Times finer than the picture that it is drawn."""
_POINTS = 160
_SHIFT = 4
"""Bits of a pixel's fraction in OpenCV's coordinates."""


@dataclass(frozen=True)
class Drawn:
    """A necklace to be laid on a picture."""

    layer: Layer
    label: NDArray[np.bool_]
    """What is labelled as the necklace, bool like the layer's alpha."""
    kind: Kind


def draw_necklace(image: Image, head: Head, rng: np.random.Generator) -> Drawn | None:
    """Draws a necklace about the neck of a head; None where too little of a neck is seen.

    It lies over neck, chest and, as chance decides, clothes; hair, face and everything else is before it.

    Args:
        image: RGB, uint8 (H, W, 3).
        head: whose neck it is.
        rng: all chance comes from it.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=_WEIGHTS))]
    thick = float(rng.uniform(*_THICK[kind]))
    curve = _curve(head, float(rng.uniform(*_DROP[kind])), rng)
    over_cloth = rng.random() < _P_OVER_CLOTH
    if curve is None:
        return None
    style = _Style.draw(kind, rng)
    reach = head.unit * (thick + style.pendant + 0.03)
    height, width = head.labels.shape
    low = np.maximum(np.floor(curve.min(0) - reach).astype(int), 0)
    high = np.minimum(np.ceil(curve.max(0) + reach).astype(int) + 1, [width, height])
    if (high - low).min() < 2:
        return None
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    free = _free(image, head, part, curve, over_cloth)
    if not _seen_enough(curve, low, free, head.unit):
        return None
    sides = (high - low) * _FINE
    pen = _Pen(np.zeros((sides[1], sides[0], 3), np.uint8), np.zeros((sides[1], sides[0]), np.uint8))
    fine = (curve - low + 0.5) * _FINE - 0.5
    _draw(pen, fine, style, thick * head.unit * _FINE, head, rng)
    mark = np.zeros_like(pen.alpha)
    wide = max(1, round(max(thick, _LABEL_THICK) * head.unit * _FINE))
    cv2.polylines(mark, [_fixed(fine)], False, 255, wide, cv2.LINE_8, _SHIFT)
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    covered = cv2.resize(np.maximum(mark, pen.alpha), size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(pen.alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255 * free
    # Drawn on black: the area's mean colour is that of what was drawn, once its share is taken out.
    share = np.maximum(cv2.resize(pen.alpha, size, interpolation=cv2.INTER_AREA), 1).astype(np.float32)[..., None] / 255
    colour = cv2.resize(pen.colour, size, interpolation=cv2.INTER_AREA).astype(np.float32) / share
    colour = (colour * _light(image, head, part)[..., None]).clip(0, 255)
    return Drawn(Layer(colour, alpha, int(low[0]), int(low[1])), (covered > 127) & (free > 0.5), kind)


@dataclass(frozen=True)
class _Style:
    """What is drawn along the curve."""

    kind: Kind
    colour: NDArray[np.float64]
    second: NDArray[np.float64]
    """Of every other bead."""
    growth: float
    """How much larger beads are in the middle than at the ends."""
    pendant: float
    """Height of what hangs in the middle, in distances from eyes to chin; 0 for nothing."""

    @classmethod
    def draw(cls, kind: Kind, rng: np.random.Generator) -> "_Style":
        metal = np.array(_METALS[int(rng.integers(len(_METALS)))], float)
        if kind == "pearls":
            colour = np.array(_PEARLS[int(rng.integers(len(_PEARLS)))], float)
        elif kind in ("beads", "ribbon"):
            dark = rng.random() < (0.4 if kind == "beads" else 0.75)
            colour = rng.uniform(10, 60, 3) if dark else rng.uniform(20, 240, 3)
        else:
            colour = metal
        colour = (colour + rng.normal(0, 8, 3)).clip(0, 255)
        second = rng.uniform(20, 240, 3) if kind == "beads" and rng.random() < 0.4 else colour
        p_pendant = {"chain": 0.6, "ribbon": 0.3, "beads": 0.25}.get(kind, 0.0)
        pendant = float(rng.uniform(0.05, 0.16)) if rng.random() < p_pendant else 0.0
        return cls(kind, colour, second, float(rng.choice([0.0, 0.0, 0.6])), pendant)


@dataclass(frozen=True)
class _Pen:
    """Where it is drawn: colours on black, and where there is something."""

    colour: Image
    alpha: Image

    def disc(self, at: Points, radius: float, colour: NDArray[np.float64]) -> None:
        centre, size = _fixed(at[None])[0].tolist(), max(1, round(radius * 2**_SHIFT))
        cv2.circle(self.colour, centre, size, colour.clip(0, 255).tolist(), -1, cv2.LINE_8, _SHIFT)
        cv2.circle(self.alpha, centre, size, 255, -1, cv2.LINE_8, _SHIFT)

    def line(self, points: Points, thick: float, colour: NDArray[np.float64]) -> None:
        at, wide = [_fixed(points)], max(1, round(thick))
        cv2.polylines(self.colour, at, False, colour.clip(0, 255).tolist(), wide, cv2.LINE_8, _SHIFT)
        cv2.polylines(self.alpha, at, False, 255, wide, cv2.LINE_8, _SHIFT)

    def shape(self, points: Points, colour: NDArray[np.float64]) -> None:
        cv2.fillPoly(self.colour, [_fixed(points)], colour.clip(0, 255).tolist(), cv2.LINE_8, _SHIFT)
        cv2.fillPoly(self.alpha, [_fixed(points)], 255, cv2.LINE_8, _SHIFT)


@dataclass(frozen=True)
class _Line:
    """A curve by the way along it."""

    points: Points
    """float64 (N, 2), in order."""

    @cached_property
    def _ways(self) -> NDArray[np.float64]:
        return np.append(0, np.cumsum(np.hypot(*np.diff(self.points, axis=0).T)))

    @property
    def length(self) -> float:
        return float(self._ways[-1])

    def at(self, way: float) -> Points:
        """The point (2,) so far from the beginning."""
        return np.array([np.interp(way, self._ways, self.points[:, i]) for i in range(2)])


def _curve(head: Head, drop: float, rng: np.random.Generator) -> Points | None:
    """The necklace's line from left to right, float64 (N, 2), in pixels; None without enough of a neck."""
    sides = head.neck_sides()
    if len(sides) < 3 or (sides[:, 2] - sides[:, 1]).max() < _LEAST_NECK:
        return None
    # Where the neck is at its widest its sides are its own, neither hidden by hair nor by the jaw.
    wide = sides[(sides[:, 2] - sides[:, 1]) > 0.8 * np.quantile(sides[:, 2] - sides[:, 1], 0.7)]
    chin = float(head.place(head.frame.chin[None])[0, 1])
    end = float(wide[0, 0] + rng.uniform(*_END) * (wide[-1, 0] - wide[0, 0]))
    left, right = (float(np.interp(end, wide[:, 0], wide[:, i])) for i in (1, 2))
    lowest = max(end + drop, chin + float(rng.uniform(0.08, 0.16)))
    across = np.linspace(-1, 1, _POINTS)
    # From a half ellipse, as a stiff band lies, to the slack line of a chain that a pendant pulls down.
    slack = float(rng.uniform(0, 0.8))
    down = (1 - slack) * np.sqrt(1 - across**2) + slack * (1 - np.abs(across) ** 1.4)
    tilt = float(rng.normal(0, 0.02))
    x = (left + right) / 2 + (right - left) / 2 * across
    y = end + (lowest - end) * down + tilt * across
    axes = np.stack([head.frame.right, head.frame.down])
    return np.asarray(head.frame.bridge + head.unit * np.column_stack([x, y]) @ axes)


def _free(image: Image, head: Head, part: tuple[slice, slice], curve: Points, over_cloth: bool) -> NDArray[np.float32]:
    """1 where a necklace lies before what is seen, float32 (h, w), with soft edges towards the rest."""
    labels = head.labels[part]
    neck = (labels == head.taxonomy.id_of("neck")) | (labels == head.taxonomy.id_of("neck_l"))
    free = neck.copy()
    if neck.any():
        colour = image[part].astype(np.float32)
        like = np.abs(colour - colour[neck].mean(0)).max(-1) < _CHEST
        free |= like & (labels == head.taxonomy.background)
    if over_cloth:
        # To the sides a collar is before it.
        columns = np.arange(labels.shape[1]) + part[1].start
        middle, half = (float(v) for v in (curve[:, 0].mean(), np.ptp(curve[:, 0]) / 2))
        free |= (labels == head.taxonomy.id_of("cloth")) & (np.abs(columns - middle) < _COLLAR * half)
    return np.asarray(cv2.blur(free.astype(np.float32), (3, 3)) * free, np.float32)


def _seen_enough(curve: Points, low: NDArray[np.int64], free: NDArray[np.float32], unit: float) -> bool:
    at = np.rint(curve - low).astype(int)
    inside = ((at >= 0) & (at < [free.shape[1], free.shape[0]])).all(1)
    seen = np.zeros(len(at), bool)
    seen[inside] = free[at[inside, 1], at[inside, 0]] > 0
    steps = np.append(np.hypot(*np.diff(curve, axis=0).T), 0.0)
    length = float(steps[seen].sum())
    return length >= _LEAST_SEEN * unit and length >= _LEAST_SHARE * float(steps[inside].sum())


def _light(image: Image, head: Head, part: tuple[slice, slice]) -> NDArray[np.float32]:
    """How brightly the neck is lit, float32 (h, w): 1 where skin has its usual brightness."""
    grey = cv2.cvtColor(np.ascontiguousarray(image[part]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.blur(grey, (15, 15))
    return np.asarray((0.3 + 0.7 * smooth / 150).clip(0.35, 1.25), np.float32)


def _draw(pen: _Pen, curve: Points, style: _Style, thick: float, head: Head, rng: np.random.Generator) -> None:
    line = _Line(curve)
    if style.kind == "ribbon":
        pen.line(curve, thick, style.colour)
        shine = curve - 0.22 * thick * head.frame.down
        pen.line(shine, max(1.0, 0.18 * thick), style.colour * 1.15 + 12)
    elif style.kind == "chain":
        link = max(2.0, float(rng.uniform(0.8, 2.5)) * thick)
        ends = np.arange(0, line.length, link)
        bright = rng.uniform(0.45, 1.25, len(ends))
        bright[rng.random(len(ends)) < 0.15] = 1.6
        for start, shade in zip(ends, bright, strict=True):
            pen.line(np.stack([line.at(start), line.at(start + link)]), thick, style.colour * shade)
    else:
        rows = int(rng.integers(2, 4)) if style.kind == "strands" else 1
        for row in range(rows):
            _beads(pen, line, style, thick, row * 1.05 * thick * head.frame.down, head, rng)
    if style.pendant:
        _pendant(pen, line.at(line.length / 2), style, thick, head, rng)


def _beads(
    pen: _Pen, line: _Line, style: _Style, thick: float, shift: Points, head: Head, rng: np.random.Generator
) -> None:
    along, number = 0.0, 0
    while along < line.length:
        middle = 1 - abs(2 * along / line.length - 1)
        radius = thick / 2 * (1 - style.growth / 2 + style.growth * middle)
        # Rows below begin and end beneath the first.
        at = line.at(along) + shift * middle
        base = (style.colour if number % 2 == 0 else style.second) * float(rng.uniform(0.85, 1.1))
        light = -(0.35 * head.frame.down + 0.25 * head.frame.right)
        pen.disc(at, radius, base * 0.62)
        pen.disc(at + 0.25 * radius * light, radius * 0.8, base * 0.92)
        pen.disc(at + 0.8 * radius * light, radius * 0.3, base * 0.6 + 110)
        along += 2 * radius * 1.02
        number += 1


def _pendant(pen: _Pen, top: Points, style: _Style, thick: float, head: Head, rng: np.random.Generator) -> None:
    """A drop, disc, cross or bar below a point, of metal or stone."""
    right, down = head.frame.right, head.frame.down
    size = style.pendant * head.unit * _FINE
    metal = np.array(_METALS[int(rng.integers(len(_METALS)))], float)
    stone = rng.uniform(10, 230, 3) if rng.random() < 0.4 else metal
    form = int(rng.integers(4))
    pen.disc(top + thick * 0.5 * down, max(2.0, 0.5 * thick), metal * 0.8)
    top = top + 0.8 * thick * down
    turn = np.linspace(0, 2 * np.pi, 28)
    if form == 0:
        wide = 0.34 * size * np.sin(turn) * np.abs(np.sin(turn / 2))
        drop = top + wide[:, None] * right + (size * (1 - np.cos(turn)) / 2)[:, None] * down
        pen.shape(drop, metal * 0.8)
        pen.shape(drop * 0.76 + (top + 0.6 * size * down) * 0.24, stone)
    elif form == 1:
        middle = top + 0.4 * size * down
        pen.disc(middle, 0.4 * size, metal * 0.75)
        pen.disc(middle - 0.05 * size * down, 0.31 * size, stone)
    elif form == 2:
        pen.line(np.stack([top, top + size * down]), max(2.0, 0.16 * size), metal)
        bar = top + 0.33 * size * down
        pen.line(np.stack([bar - 0.3 * size * right, bar + 0.3 * size * right]), max(2.0, 0.16 * size), metal * 1.05)
    else:
        long = float(rng.choice([0.35, 1.0]))
        pen.line(np.stack([top, top + long * size * down]), max(2.0, 0.22 * size), metal)
    shine = top + 0.3 * size * down - 0.1 * size * right
    pen.disc(shine, max(1.0, 0.07 * size), np.full(3, 245.0))


def _fixed(points: Points) -> NDArray[np.int32]:
    """Coordinates with fractions as OpenCV wants them."""
    return np.asarray(np.rint(points * 2**_SHIFT), np.int32)
