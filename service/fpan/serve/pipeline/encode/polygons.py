"""Label maps as polygons, by class, holes kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.outlines import Ring, regions, steps
from fpan.serve.api.errors import TooLarge
from fpan.serve.pipeline.settings import PipelineSettings


@dataclass(frozen=True)
class Polygon:
    """One region. Corners (x, y) are int (N, 2), those of pixels: pixel (x, y) is the square to (x + 1, y + 1)."""

    outline: Ring
    holes: tuple[Ring, ...]


@dataclass(frozen=True)
class ClassPolygons:
    """The regions of one class, those that enclose others first."""

    id: int
    name: str
    polygons: tuple[Polygon, ...]


def class_polygons(
    labels: NDArray[np.uint8], names: Mapping[int, str], tolerance: float, origin: tuple[int, int] = (0, 0)
) -> tuple[ClassPolygons, ...]:
    """The outlines of a label map's regions, by rising id. Neighbours share their border, simplified or not.

    Args:
        labels: uint8 (H, W).
        names: the classes to outline: name by id.
        tolerance: how far an outline may run from the true border, in pixels; 0 is exact.
        origin: x and y of the label map's first pixel in the frame of the answer.
    """
    x, y, width, height = cv2.boundingRect(cv2.LUT(labels, _table(names)))
    if not width:
        return ()
    # What lies far from the parts need not be followed; one more pixel around them, so that all have a neighbour.
    x0, y0, x1, y1 = max(x - 1, 0), max(y - 1, 0), x + width + 1, y + height + 1
    shift = np.array([x0 + origin[0], y0 + origin[1]])
    found: dict[int, list[Polygon]] = {}
    for region in regions(labels[y0:y1, x0:x1], tolerance):
        if region.label in names:
            holes = tuple(hole + shift for hole in region.holes)
            found.setdefault(region.label, []).append(Polygon(region.outline + shift, holes))
    return tuple(ClassPolygons(i, names[i], tuple(found[i])) for i in sorted(found))


def check_outlines(maps: Iterable[NDArray[np.uint8]], rules: PipelineSettings) -> None:
    """Refuses label maps, each uint8 (H, W), whose borders are too long to be followed.

    Raises:
        TooLarge: they are.
    """
    needed = sum(steps(labels) for labels in maps)
    if needed > rules.max_outline_steps:
        raise TooLarge(
            f"the outlines run along {needed} sides of pixels, more than the {rules.max_outline_steps} that one answer "
            "may: ask for fewer classes, a smaller picture, or rle"
        )


def _table(names: Mapping[int, str]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(names)] = 255
    return table
