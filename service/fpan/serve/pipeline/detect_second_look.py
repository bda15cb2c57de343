"""Looking again: candidates in chosen poses, at one size, in the cells of a few inputs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.serve.pipeline.detect_candidates import Candidates, within
from fpan.serve.pipeline.detect_views import PADDING, Matrix

FACE_HEIGHT = 84
"""Height of a candidate's box in its cell, in pixels."""
CENTRAL = 40
"""What is found farther than so many pixels from the middle of a cell is another face, which has a cell of its own."""


@dataclass(frozen=True)
class Layout:
    """Where the cells of an input lie, in its pixels."""

    pitch: int
    """From one cell to the next."""
    cell: int
    """Side of a cell. What is left of the pitch is grey, half of it on each side."""

    def corner(self, place: int, size: int) -> tuple[int, int]:
        """The upper left corner (x, y) of the cell that comes ``place``-th, row by row, in an input of that side."""
        margin, columns = (self.pitch - self.cell) // 2, size // self.pitch
        return self.pitch * (place % columns) + margin, self.pitch * (place // columns) + margin

    def cells(self, size: int) -> int:
        """How many an input of that side holds."""
        return (size // self.pitch) ** 2


PACKED = Layout(160, 160)
"""As many cells as will do."""
ROOMY = Layout(320, 240)
"""Cells so far apart that neighbours do not change what the network says of a face: a picture and its mirror image
have different neighbours. Four faces of 640 x 640 pixels cost as much as sixteen."""


@dataclass(frozen=True)
class Pose:
    """How a candidate is shown."""

    lean: float = 0.0
    """Degrees from where it seems upright."""
    mirrored: bool = False


@dataclass(frozen=True)
class Sheet:
    """One input of a later look."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (S, S, 3)."""
    to_picture: tuple[Matrix, ...]
    """For each of its cells, row by row, the map from pixels of the sheet to those of the picture."""
    layout: Layout

    def read(self, rows: NDArray[np.float32], threshold: float) -> Candidates:
        """The faces in the middle of cells.

        Args:
            rows: the network's ``faces`` of this sheet, float32 (K, 15).
            threshold: least score.
        """
        rows = rows[rows[:, 14] >= threshold]
        found = []
        for place, matrix in enumerate(self.to_picture):
            corner = np.array(self.layout.corner(place, len(self.pixels)), np.float64)
            mine = within(rows, corner, corner + self.layout.cell)
            off = np.abs((mine[:, 0:2] + mine[:, 2:4]) / 2 - corner - self.layout.cell / 2)
            found.append(Candidates.of_view(mine[(off <= CENTRAL).all(1)], matrix))
        return Candidates.join(found)


def sheets(picture: NDArray[np.uint8], candidates: Candidates, size: int, poses: Sequence[Pose]) -> Iterator[Sheet]:
    """Packs candidates, in their order, into as few inputs of ``size`` x ``size`` as hold them; a few have more room.

    Args:
        picture: RGB, uint8 (H, W, 3).
        candidates: what to look at.
        size: side of the network's input in pixels.
        poses: each candidate is shown once in each of these.
    """
    count = len(candidates) * len(poses)
    layout = ROOMY if count <= ROOMY.cells(size) else PACKED
    shown = _shown(picture, candidates, poses, layout.cell)
    while batch := list(islice(shown, layout.cells(size))):
        pixels = np.full((size, size, 3), PADDING, np.uint8)
        maps = []
        for place, (cell, to_picture) in enumerate(batch):
            x, y = layout.corner(place, size)
            pixels[y : y + layout.cell, x : x + layout.cell] = cell
            to_picture[:, 2] -= to_picture[:, :2] @ (x, y)
            maps.append(to_picture)
        yield Sheet(pixels, tuple(maps), layout)


def _shown(
    picture: NDArray[np.uint8], candidates: Candidates, poses: Sequence[Pose], side: int
) -> Iterator[tuple[NDArray[np.uint8], Matrix]]:
    """Each candidate in each pose: a cell's pixels, and the map from them to those of the picture."""
    for index in range(len(candidates)):
        scale = _scale(candidates, index)
        around = _Surroundings.of(picture, candidates.centre[index], scale, side)
        for pose in poses:
            to_picture = _posed(candidates, index, pose, side)
            yield around.cell(to_picture, side), to_picture


def _scale(candidates: Candidates, index: int) -> float:
    """Pixels of the picture for each of a candidate's cell."""
    return max(1.0, float(candidates.size[index].max())) / FACE_HEIGHT


def _posed(candidates: Candidates, index: int, pose: Pose, cell: int) -> Matrix:
    """From pixels of a cell to those of the picture; the face stands in its pose in the middle of the cell."""
    turn = float(candidates.upright[index]) + math.radians(pose.lean)
    linear = _scale(candidates, index) * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if pose.mirrored:
        linear[:, 0] *= -1
    return np.column_stack([linear, candidates.centre[index] - linear @ np.full(2, (cell - 1) / 2)])


@dataclass(frozen=True)
class _Surroundings:
    """What a candidate's cells show, in whatever pose, made as small as they need it.

    What is made smaller is averaged first, since a warp alone would leave pixels out; once for all poses.
    """

    pixels: NDArray[np.uint8]
    """RGB, uint8 (h, w, 3); empty where the picture shows nothing of it."""
    corner: NDArray[np.float64]
    """Of the first pixel, x and y in the picture."""
    ratio: NDArray[np.float64]
    """Pixels of these for each of the picture's, along x and y."""

    @classmethod
    def of(cls, picture: NDArray[np.uint8], centre: NDArray[np.float64], scale: float, side: int) -> Self:
        """All that a square cell of ``side`` pixels may show around ``centre``, however it is turned."""
        height, width = picture.shape[:2]
        reach = scale * side / math.sqrt(2)
        x0, y0 = np.clip(np.floor(centre - reach) - 1, 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(centre + reach) + 2, 0, (width, height)).astype(int)
        part, ratio = picture[y0:y1, x0:x1], np.ones(2)
        if scale > 1 and part.size:
            small = (max(1, round((x1 - x0) / scale)), max(1, round((y1 - y0) / scale)))
            ratio = np.array([small[0] / (x1 - x0), small[1] / (y1 - y0)])
            part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
        return cls(part, np.array([x0, y0], np.float64), ratio)

    def cell(self, to_picture: Matrix, side: int) -> NDArray[np.uint8]:
        """The pixels of a cell, RGB, uint8 (side, side, 3), whose map to those of the picture is ``to_picture``."""
        if not self.pixels.size:
            return np.full((side, side, 3), PADDING, np.uint8)
        matrix = to_picture.copy()
        matrix[:, 2] -= self.corner
        matrix *= self.ratio[:, None]
        matrix[:, 2] += (self.ratio - 1) / 2
        cell = cv2.warpAffine(
            self.pixels,
            matrix,
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PADDING, PADDING, PADDING),
        )
        return np.asarray(cell, np.uint8)
