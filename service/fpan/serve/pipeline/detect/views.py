"""The views of a picture that the detector looks at: the whole, and square tiles of it where it is large.

A face must be some twenty pixels high to be found, and the network's input is small, so a large picture is looked at
more than once: whole, for the large faces, and in overlapping tiles of a finer level, for the small ones. A view may
be rolled, so that a face that leans stands upright in it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.serve.pipeline.align.crop import prepared, warp

Matrix = NDArray[np.float64]
"""Affine map, float64 (2, 3), between pixel coordinates whose integers are pixel centres."""

PADDING = 114
"""Grey level outside of the picture: near the network's mean, so that the border is no edge."""


@dataclass(frozen=True)
class ViewPlan:
    """Which views are taken. The defaults were chosen by ``docs/results/detector.md``."""

    fine_from: int = 2_200_000
    """Pixels of the smallest picture that is tiled; a smaller one is looked at as a whole only."""
    fine_side: int = 2400
    """Longer side, in pixels, of the level that is tiled, unless the picture itself is smaller."""
    overlap: int = 128
    """Least overlap of neighbouring tiles, in pixels of the level. A face this high is whole in one of them."""
    whole_angles: tuple[float, ...] = (0.0,)
    """Rolls of the whole, in degrees."""
    fine_angles: tuple[float, ...] = (-30.0, 30.0)
    """Rolls of the tiles, in degrees. Two cover faces that lean by up to 60 degrees."""
    first_threshold: float = 0.2
    """Least score of what gets a second look."""
    second_leans: tuple[float, ...] = (-40.0, 0.0, 40.0)
    """How a candidate leans in the second look, in degrees from where the first one had it upright."""
    second_threshold: float = 0.3
    """Least score there of what gets the last look."""


@dataclass(frozen=True)
class ViewSpec:
    """One view: a rectangle cut from a level of the picture."""

    level: tuple[int, int]
    """Width and height of the level, in pixels."""
    centre: tuple[float, float]
    """Of the rectangle, x and y in pixels of the level."""
    size: tuple[int, int]
    """Its width and height, in pixels of the view."""
    angle: float
    """A face that is rolled by this many degrees clockwise stands upright in the view."""
    whole: bool
    """Whether the rectangle holds all of the picture."""

    def to_level(self) -> Matrix:
        """From pixels of the view to pixels of the level."""
        turn = math.radians(self.angle)
        linear = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        middle = (np.asarray(self.size) - 1) / 2
        return np.asarray(np.column_stack([linear, np.asarray(self.centre) - linear @ middle]), np.float64)

    def to_picture(self, width: int, height: int) -> Matrix:
        """From pixels of the view to pixels of the picture."""
        scale = np.array([width / self.level[0], height / self.level[1]])
        matrix = np.asarray(self.to_level() * scale[:, None], np.float64)
        matrix[:, 2] += (scale - 1) / 2
        return matrix


def plan_views(width: int, height: int, sizes: Sequence[tuple[int, int]], plan: ViewPlan) -> list[ViewSpec]:
    """The views of a picture of ``width`` x ``height`` pixels, the whole first. All are of one size.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        sizes: heights and widths of the network's inputs, in pixels; the first is a square, and the largest.
        plan: which views are taken.
    """
    size = sizes[0][0]
    whole = _level(width, height, size, multiple=2)
    middle = ((whole[0] - 1) / 2, (whole[1] - 1) / 2)
    tiled = width * height >= plan.fine_from
    around = (size, size) if tiled or any(plan.whole_angles) else _around(whole, sizes)
    specs = [ViewSpec(whole, middle, around, angle, whole=True) for angle in plan.whole_angles]
    if tiled:
        fine = _level(width, height, min(plan.fine_side, max(width, height)))
        for angle in plan.fine_angles:
            specs += _tiles(fine, size, plan.overlap, angle)
    return specs


def render(picture: NDArray[np.uint8], specs: Sequence[ViewSpec]) -> Iterator[NDArray[np.uint8]]:
    """The views' pixels, RGB uint8 (h, w, 3), one by one. A level is made once for views that follow each other.

    Args:
        picture: RGB, uint8 (H, W, 3).
        specs: the views.
    """
    for size, same_level in groupby(specs, lambda spec: spec.level):
        shrinks = size[0] * size[1] < picture.shape[0] * picture.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        level = np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
        turned: NDArray[np.uint8] | None = None
        for spec in same_level:
            if spec.whole and spec.angle == 0:
                yield _framed(level, spec.size)
                continue
            if turned is None:
                turned = prepared(level)
            yield warp(turned, spec.to_level(), spec.size, PADDING)


def _framed(level: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A level in the middle of a view, pixel by pixel."""
    height, width = level.shape[:2]
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    right, bottom = size[0] - width - left, size[1] - height - top
    view = cv2.copyMakeBorder(level, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    return np.asarray(view, np.uint8)


def _around(level: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Width and height of the smallest view that holds an upright level."""
    return min(((w, h) for h, w in sizes if w >= level[0] and h >= level[1]), key=math.prod)


def _level(width: int, height: int, side: int, multiple: int = 1) -> tuple[int, int]:
    """Width and height of the level whose longer side is ``side``, rounded to multiples: an even one lies in the middle
    of an even view without being moved by half a pixel.
    """
    scale = side / max(width, height) / multiple
    return max(1, round(width * scale)) * multiple, max(1, round(height * scale)) * multiple


def _tiles(level: tuple[int, int], size: int, overlap: int, angle: float) -> list[ViewSpec]:
    """Squares that cover a level, rolled by an angle, evenly spread; those that miss it are left out."""
    width, height = level
    turn = math.radians(angle)
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    columns = _centres(width * cos + height * sin, size, overlap)
    rows = _centres(width * sin + height * cos, size, overlap)
    specs = []
    for v in rows:
        for u in columns:
            x = u * math.cos(turn) - v * math.sin(turn)
            y = u * math.sin(turn) + v * math.cos(turn)
            reach = size / 2 * (cos + sin)
            if abs(x) - reach < width / 2 - overlap / 2 and abs(y) - reach < height / 2 - overlap / 2:
                centre = ((width - 1) / 2 + x, (height - 1) / 2 + y)
                specs.append(ViewSpec(level, centre, (size, size), angle, whole=False))
    return specs


def _centres(length: float, size: int, overlap: int) -> list[float]:
    """Centres, about 0, of the fewest intervals of ``size`` that cover ``length`` with at least that overlap."""
    if length <= size:
        return [0.0]
    count = math.ceil((length - overlap) / (size - overlap))
    step = (length - size) / (count - 1)
    return [i * step - (length - size) / 2 for i in range(count)]
