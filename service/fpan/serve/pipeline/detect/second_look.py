"""Looking again: candidates in chosen poses, at one size, in the cells of a few inputs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.serve.pipeline.align.crop import prepared, warp
from fpan.serve.pipeline.detect.candidates import Candidates, uncut
from fpan.serve.pipeline.detect.views import PADDING, Matrix

FACE_HEIGHT = 84
"""Height of a candidate's box in its cell, in pixels."""
CENTRAL = 40
"""What is found farther than so many pixels from the middle of a cell is another face, which has a cell of its own."""
ROOMY = 240
"""Side of a cell in pixels, so large that neighbours hardly change what the network says of a face: a picture and its
mirror image have different ones."""
PACKED = 160
"""The same where there are many: one input of the largest size holds sixteen and costs as much as two small ones."""
FEW = 12
"""So many cells are roomy at most."""


@dataclass(frozen=True)
class Pose:
    """How a candidate is shown."""

    lean: float = 0.0
    """Degrees from where it seems upright."""
    mirrored: bool = False


@dataclass(frozen=True)
class Sheet:
    """One input of a later look: cells side by side, row by row."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (S, S, 3)."""
    to_picture: tuple[Matrix, ...]
    """For each of its cells the map from pixels of the sheet to those of the picture."""
    cell: int
    """Side of a cell in pixels."""

    def read(self, rows: NDArray[np.float32], threshold: float) -> Candidates:
        """The faces in the middle of cells.

        Args:
            rows: the network's ``faces`` of this sheet, float32 (K, 15).
            threshold: least score.
        """
        rows, columns = rows[rows[:, 14] >= threshold], len(self.pixels) // self.cell
        centre = (rows[:, 0:2] + rows[:, 2:4]) / 2
        column, row = np.clip(centre // self.cell, 0, columns - 1).T
        place = (row * columns + column).astype(int)
        corner = self.cell * np.stack([column, row], 1)
        mine = (place < len(self.to_picture)) & uncut(rows, corner, corner + self.cell)
        mine &= (np.abs(centre - corner - self.cell / 2) <= CENTRAL).all(1)
        return Candidates.of_view(rows[mine], np.stack(self.to_picture)[place[mine]])


def sheets(
    picture: NDArray[np.uint8], candidates: Candidates, sizes: Sequence[tuple[int, int]], poses: Sequence[Pose]
) -> Iterator[Sheet]:
    """Packs candidates, in their order, into as few inputs as hold them: small ones where they are few.

    Args:
        picture: RGB, uint8 (H, W, 3).
        candidates: what to look at.
        sizes: heights and widths of the network's inputs, in pixels; squares are the first, which is the largest, and
            the last, which is the smallest and holds roomy cells.
        poses: each candidate is shown once in each of these.
    """
    (largest, _), (smallest, _) = sizes[0], sizes[-1]
    few = len(candidates) * len(poses) <= FEW
    cell, side = (ROOMY, smallest) if few else (PACKED, largest)
    shown = _shown(picture, candidates, poses, cell)
    while batch := list(islice(shown, (side // cell) ** 2)):
        pixels = np.full((side, side, 3), PADDING, np.uint8)
        maps = []
        for place, (shown_there, to_picture) in enumerate(batch):
            x, y = _corner(place, side, cell)
            pixels[y : y + cell, x : x + cell] = shown_there
            to_picture[:, 2] -= to_picture[:, :2] @ (x, y)
            maps.append(to_picture)
        yield Sheet(pixels, tuple(maps), cell)


def _corner(place: int, side: int, cell: int) -> tuple[int, int]:
    """The upper left corner (x, y) of the cell that comes ``place``-th in a sheet of that side."""
    columns = side // cell
    return cell * (place % columns), cell * (place // columns)


def _shown(
    picture: NDArray[np.uint8], candidates: Candidates, poses: Sequence[Pose], side: int
) -> Iterator[tuple[NDArray[np.uint8], Matrix]]:
    """Each candidate in each pose: a cell's pixels, and the map from them to those of the picture."""
    scales = np.maximum(1.0, candidates.size.max(1)) / FACE_HEIGHT  # pixels of the picture for each of a cell
    for centre, scale, upright in zip(candidates.centre, scales.tolist(), candidates.upright.tolist(), strict=True):
        around = _Surroundings.of(picture, centre, scale, side)
        plain: dict[float, NDArray[np.uint8]] = {}
        for pose in poses:
            to_picture = _posed(centre, scale, upright + math.radians(pose.lean), side)
            if pose.lean not in plain:
                plain[pose.lean] = around.cell(to_picture, side)
            if pose.mirrored:
                yield np.asarray(cv2.flip(plain[pose.lean], 1), np.uint8), _mirrored(to_picture, side)
            else:
                yield plain[pose.lean], to_picture


def _posed(centre: NDArray[np.float64], scale: float, turn: float, cell: int) -> Matrix:
    """From pixels of a cell to those of the picture; what is rolled by ``turn`` stands upright in its middle."""
    cos, sin, middle = scale * math.cos(turn), scale * math.sin(turn), (cell - 1) / 2
    x, y = centre.tolist()
    return np.array([[cos, -sin, x - (cos - sin) * middle], [sin, cos, y - (sin + cos) * middle]])


def _mirrored(to_picture: Matrix, cell: int) -> Matrix:
    """The map of a cell's mirror image."""
    (a, b, x), (c, d, y) = to_picture.tolist()
    return np.array([[-a, b, x + a * (cell - 1)], [-c, d, y + c * (cell - 1)]])


@dataclass(frozen=True)
class _Surroundings:
    """What a candidate's cells show, in whatever pose, made smaller where they need it.

    What is made smaller is averaged first, since a warp alone would leave pixels out; once for all poses, and by whole
    pixels, which takes a tenth of the time.
    """

    pixels: NDArray[np.uint8]
    """As :func:`~fpan.serve.pipeline.align.crop.prepared` makes them; empty where the picture shows nothing of it."""
    corner: NDArray[np.float64]
    """Of the first pixel, x and y in the picture."""
    factor: int
    """Pixels of the picture that one of these is the mean of, along x and y."""

    @classmethod
    def of(cls, picture: NDArray[np.uint8], centre: NDArray[np.float64], scale: float, side: int) -> Self:
        """All that a cell of ``side`` pixels may show around ``centre``, however it is turned."""
        height, width = picture.shape[:2]
        reach = scale * side / math.sqrt(2)
        x0, y0 = np.clip(np.floor(centre - reach) - 1, 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(centre + reach) + 2, 0, (width, height)).astype(int)
        factor = max(1, min(int(scale), x1 - x0, y1 - y0))
        small = ((x1 - x0) // factor, (y1 - y0) // factor)
        part = picture[y0 : y0 + factor * small[1], x0 : x0 + factor * small[0]]
        if factor > 1 and part.size:
            part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA), np.uint8)
        return cls(prepared(part) if part.size else part, np.array([x0, y0], np.float64), factor)

    def cell(self, to_picture: Matrix, side: int) -> NDArray[np.uint8]:
        """The pixels of a cell, RGB, uint8 (side, side, 3), whose map to those of the picture is ``to_picture``."""
        if not self.pixels.size:
            return np.full((side, side, 3), PADDING, np.uint8)
        matrix = to_picture.copy()
        matrix[:, 2] -= self.corner + (self.factor - 1) / 2
        matrix /= self.factor
        return warp(self.pixels, matrix, (side, side), PADDING)
