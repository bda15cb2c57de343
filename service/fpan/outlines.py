"""Outlines of the regions of a label map, with holes; neighbours keep sharing their border when it is simplified.

Coordinates are those of COCO and LabelMe: pixel (x, y) is the square from (x, y) to (x + 1, y + 1), so that corners are
whole numbers. A border between two regions runs from one junction, where three or more meet, to the next; each such arc
is simplified by itself and in one direction, so that it is the same line for both and neither gap nor overlap opens
between them. (Tools that trace one mask at a time know no junctions.)
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]
"""Corners (x, y), int (N, 2), the first not repeated: clockwise as seen for an outline, the other way for a hole."""
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Right, down, left, up."""
_JUNCTION = 3
"""Borders that meet in a junction, at least."""
_TRIANGLE = 3


@dataclass(frozen=True)
class Region:
    """Pixels of one label that hang together by their sides."""

    label: int
    outline: Ring
    holes: tuple[Ring, ...]
    at_edge: bool
    """Whether it touches the edge of the picture."""

    def in_one(self) -> Ring:
        """One ring for outline and holes, int (N, 2): it runs to each hole and back on the same line, which encloses
        nothing; for formats that know no holes.
        """
        ring = self.outline
        for hole in self.holes:
            apart = ((ring[:, None] - hole[None]) ** 2).sum(2)
            at, to = np.unravel_index(int(apart.argmin()), apart.shape)
            ring = np.concatenate([ring[: at + 1], hole[to:], hole[: to + 1], ring[at:]])
        return ring


def regions(labels: NDArray[np.uint8], tolerance: float = 0.0) -> list[Region]:
    """The regions of a label map, those that enclose others first.

    Args:
        labels: uint8 (H, W).
        tolerance: how far, in pixels, a simplified outline may run from the true one (Douglas and Peucker, 1973). 0:
            nothing is simplified. Regions that are thinner than it may vanish in their neighbours.
    """
    inside = np.pad(labels.astype(np.int16), 1, constant_values=-1)
    rings = _trace(inside)
    if not rings:
        return []
    junctions = _junctions(inside)
    height, width = labels.shape
    outlines: list[tuple[int, Ring, Ring, float]] = []
    holes: list[tuple[int, Ring, Ring]] = []
    for label, ring in rings:
        simple = _corners(ring) if tolerance == 0 else _simplified(ring, junctions, tolerance)
        size = area(ring)
        if size > 0:
            outlines.append((label, ring, simple, size))
        elif len(simple) >= _TRIANGLE:
            holes.append((label, ring, simple))
    # A hole is of the smallest region of its label around it.
    outlines.sort(key=lambda outline: outline[3])
    bounds = np.array([[label, *ring.min(0), *ring.max(0)] for label, ring, _, _ in outlines])
    owned: dict[int, list[Ring]] = {}
    for label, ring, simple in holes:
        # A pixel of the region: to the right of the hole's first step.
        (x0, y0), (x1, y1) = ring[0], ring[1]
        pixel = ((x0 + x1 - (y1 - y0)) / 2, (y0 + y1 + (x1 - x0)) / 2)
        around = (bounds[:, 0] == label) & (bounds[:, 1:3] < pixel).all(1) & (bounds[:, 3:] > pixel).all(1)
        owner = next(i for i in np.flatnonzero(around).tolist() if _contains(outlines[i][1], pixel))
        owned.setdefault(owner, []).append(simple)
    found = [
        Region(label, simple, tuple(owned.get(i, ())), bool((ring == 0).any() or (ring == (width, height)).any()))
        for i, (label, ring, simple, _) in enumerate(outlines)
        if len(simple) >= _TRIANGLE
    ]
    return found[::-1]


def steps(labels: NDArray[np.uint8]) -> int:
    """Sides of pixels that :func:`regions` of a label map, uint8 (H, W), follows: its time grows with them."""
    sides = sum(labels.shape) + np.count_nonzero(np.diff(labels, axis=0)) + np.count_nonzero(np.diff(labels, axis=1))
    return 2 * int(sides)


def _trace(inside: NDArray[np.int16]) -> list[tuple[int, Ring]]:
    """Every ring between pixels of different labels, once for each side, the pixel inside on its right: label and unit
    steps.
    """
    middle = inside[1:-1, 1:-1]
    height, width = middle.shape
    neighbours = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])
    # Along which sides of a pixel a step begins, by the step's direction and the corner that it begins in.
    begins = np.zeros((len(_STEPS), height + 1, width + 1), np.bool_)
    corners = ((0, 0), (0, 1), (1, 1), (1, 0))
    for direction, (other, (down, right)) in enumerate(zip(neighbours, corners, strict=True)):
        begins[direction, down : down + height, right : right + width] = middle != other
    # A step as one number, of the corner that it begins in and its direction: tuples would take several times as long.
    stride = width + 1
    directions, downs, rights = begins.nonzero()
    every = ((downs * stride + rights) * 4 + directions).tolist()
    known, waiting = frozenset(every), set(every)
    moves = [dx + dy * stride for dx, dy in _STEPS]
    rings = []
    # In reading order, so that the same labels give the same rings in the same order.
    for first in every:
        if first not in waiting:
            continue
        ring, at = [], first
        while at in waiting:
            waiting.remove(at)
            node, direction = at >> 2, at & 3
            ring.append(node)
            node += moves[direction]
            # Right first: pixels that touch at a corner only do not hang together.
            for turn in (1, 0, 3):
                at = node * 4 + ((direction + turn) & 3)
                if at in known:
                    break
        (y, x), (down, right) = divmod(first >> 2, stride), corners[first & 3]
        rows, columns = np.divmod(np.array(ring, np.int64), stride)
        rings.append((int(middle[y - down, x - right]), np.stack([columns, rows], 1)))
    return rings


def _junctions(inside: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Corners where three or more borders meet, bool (H + 1, W + 1)."""
    across = inside[:-1] != inside[1:]
    along = inside[:, :-1] != inside[:, 1:]
    meeting = across[:, :-1].astype(np.int8) + across[:, 1:] + along[:-1] + along[1:]
    return np.asarray(meeting >= _JUNCTION)


def _corners(ring: Ring) -> Ring:
    """A ring without the points along its straight pieces."""
    before, after = np.roll(ring, 1, 0), np.roll(ring, -1, 0)
    turns: Ring = ring[((ring - before) != (after - ring)).any(1)]
    return turns


def _simplified(ring: Ring, junctions: NDArray[np.bool_], tolerance: float) -> Ring:
    fixed = np.flatnonzero(junctions[ring[:, 1], ring[:, 0]])
    if not fixed.size:
        # The same for both sides of the border: the first of its points in reading order.
        fixed = np.array([np.lexsort((ring[:, 0], ring[:, 1]))[0]])
    turned = np.roll(ring, -fixed[0], 0)
    ends = [*(fixed - fixed[0]).tolist(), len(ring)]
    closed = np.concatenate([turned, turned[:1]])
    arcs = [_arc(closed[a : b + 1], tolerance)[:-1] for a, b in pairwise(ends)]
    joined = np.concatenate(arcs)
    return joined if len(joined) >= _TRIANGLE else joined[:0]


def _arc(points: Ring, tolerance: float) -> Ring:
    """An arc with both its ends, simplified; the same points whichever way it runs."""
    if tuple(points[0]) == tuple(points[-1]):
        far = ((points - points[0]) ** 2).sum(1)
        split = min(np.flatnonzero(far == far.max()).tolist(), key=lambda i: tuple(points[i]))
        halves = (points[: split + 1], points[split:])
        # Each half keeps its farthest point whatever the tolerance: the ring encloses something.
        first, second = (_directed(half, tolerance, whole=False) for half in halves)
        return np.concatenate([first[:-1], second])
    return _directed(points, tolerance, whole=True)


def _directed(points: Ring, tolerance: float, whole: bool) -> Ring:
    if tuple(points[0]) > tuple(points[-1]):
        return _peucker(points[::-1], tolerance, whole)[::-1]
    return _peucker(points, tolerance, whole)


def _peucker(points: Ring, tolerance: float, whole: bool) -> Ring:
    """Douglas and Peucker's points. Without ``whole`` the farthest point from the chord is kept in any case."""
    keep = np.zeros(len(points), np.bool_)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1, not whole)]
    while pending:
        a, b, always = pending.pop()
        if b - a < 2:
            continue
        chord = points[b] - points[a]
        span = points[a + 1 : b] - points[a]
        along = np.clip(span @ chord / max(1, int(chord @ chord)), 0, 1)
        apart = np.hypot(*(span - along[:, None] * chord).T)
        far = int(apart.argmax())
        if apart[far] > (0 if always else tolerance):
            keep[a + 1 + far] = True
            pending += [(a, a + 1 + far, False), (a + 1 + far, b, False)]
    return points[keep]


def area(ring: Ring) -> float:
    """What a ring encloses, in pixels; negative for a hole."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _contains(ring: Ring, point: tuple[float, float]) -> bool:
    """Whether a ring of unit steps encloses a point that is no corner, by the sides to its right."""
    after = np.roll(ring, -1, 0)
    crossing = (ring[:, 1] > point[1]) != (after[:, 1] > point[1])
    return bool((crossing & (ring[:, 0] > point[0])).sum() % 2)
