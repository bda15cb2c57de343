"""Whether the faces of today are like those of a reference: histograms in the card, and the index that compares them.

A histogram of bins ``edges`` = (e1, ..., en) counts values below e1, from e1 to below e2, ..., and from en on: n + 1
bins, open at both ends, so that every value has one.

Values are counted on a fixed fine grid. When counts become a reference, neighbouring bins are merged until each holds a
tenth of the faces, as deciles would, and not too few in number; where nothing was seen is a bin of its own on either
side, and so is a class that is absent. They are compared by the population stability index: below 0.1 nothing has
changed, from 0.25 on something has (Siddiqi, "Credit Risk Scorecards", 2006).
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fpan.contract.figures import CONFIDENCE, OCCLUDED, area_of
from fpan.contract.taxonomy import Taxonomy

POSE_ANGLES = ("yaw", "pitch", "roll")
FACE_SIZE = "face_size"
MIN_SHARE = 0.1
"""Least share of a reference's faces in a bin that is merged from others."""
MIN_BIN_FACES = 20
"""Fewest faces in such a bin: a small reference has fewer bins, else its own chance would look like drift."""
HALF_A_FACE = 0.5
"""Is added to every bin before shares are compared: the index of an empty one would be infinite."""
_DECIMALS = 6
"""Of the shares in a card."""
_SUM_TOLERANCE = 1e-3

Edges = tuple[float, ...]
Counts = NDArray[np.int64]

_SHARES: Edges = tuple(2.0 ** (quarter / 4) for quarter in range(-52, 0))
"""Quarter octaves: a part that grows by a fifth moves a bin on, be it hair or an eye. Below the first edge, eight
pixels of a crop of 256 x 256, it counts as absent."""
_CONFIDENCES: Edges = tuple(percent / 100 for percent in range(50, 100))
_ANGLES: Edges = tuple(float(degrees) for degrees in range(-90, 95, 5))
"""The pose is within some degrees."""
_SIZES: Edges = tuple(2.0 ** (half / 2) for half in range(8, 25))
"""Pixels, half octaves from 16 to 4096."""


class ReferenceHistogram(BaseModel):
    """How one quantity is distributed over the faces of a reference."""

    model_config = ConfigDict(frozen=True)

    quantity: str
    edges: Edges
    """Between the bins, ascending."""
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    """Of the faces, for each bin."""
    faces: Annotated[int, Field(ge=1)]
    """That were counted."""
    source: str
    """Where they come from: pictures of a data set, or live traffic."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"the edges of {self.quantity} must ascend")
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"{self.quantity} must have one share more than edges")
        if abs(sum(self.shares) - 1) > _SUM_TOLERANCE:
            raise ValueError(f"the shares of {self.quantity} must add up to 1")
        return self

    @classmethod
    def of(cls, quantity: str, edges: Edges, counts: Counts, source: str) -> Self:
        """From counts on a fine grid, whose bins are merged.

        Args:
            quantity: its name.
            edges: of the grid.
            counts: of its bins, int (len(edges) + 1,), at least one face.
            source: where the faces come from.
        """
        starts = _merged(counts, absent_apart=_can_be_absent(quantity))
        kept = tuple(edges[start - 1] for start in starts[1:])
        faces = int(counts.sum())
        shares = tuple(round(float(share), _DECIMALS) for share in np.add.reduceat(counts, starts) / faces)
        return cls(quantity=quantity, edges=kept, shares=shares, faces=faces, source=source)

    def psi(self, edges: Edges, counts: Counts) -> float:
        """The population stability index of counts against this reference.

        Args:
            edges: of the counts; the reference's are among them.
            counts: int (len(edges) + 1,), at least one face.
        """
        starts = [0, *(edges.index(edge) + 1 for edge in self.edges)]
        return psi(np.asarray(self.shares) * self.faces, np.add.reduceat(counts, starts))


def quantities(taxonomy: Taxonomy) -> tuple[str, ...]:
    """Names of all that is watched of faces whose parts are those of ``taxonomy``."""
    areas = (area_of(c.name) for c in taxonomy.classes)
    return (*areas, CONFIDENCE, OCCLUDED, *POSE_ANGLES, FACE_SIZE)


def grid_of(quantity: str) -> Edges:
    """The edges on which a quantity is counted. Those of a reference are among them."""
    if quantity == CONFIDENCE:
        return _CONFIDENCES
    if quantity in POSE_ANGLES:
        return _ANGLES
    return _SIZES if quantity == FACE_SIZE else _SHARES


def count(edges: Edges, values: Iterable[float]) -> Counts:
    """How many values lie in each bin, int64 (len(edges) + 1,)."""
    bins = np.searchsorted(edges, np.fromiter(values, float), side="right")
    return np.bincount(bins, minlength=len(edges) + 1).astype(np.int64)


def psi(expected: NDArray[np.float64], found: Counts) -> float:
    """The population stability index of two distributions over the same bins: sum of (f - e) ln(f / e), f and e being
    shares.

    Without any change, n faces against a reference of m in B bins give (B - 1) (1/n + 1/m) on average.

    Args:
        expected: faces of the reference in each bin, float (B,).
        found: faces that are compared, int (B,).
    """
    e, f = (faces + HALF_A_FACE for faces in (expected, found))
    e, f = e / e.sum(), f / f.sum()
    return float(((f - e) * np.log(f / e)).sum())


def _can_be_absent(quantity: str) -> bool:
    return grid_of(quantity) is _SHARES


def _merged(counts: Counts, *, absent_apart: bool) -> list[int]:
    """First bins of the merged ones, ascending from 0.

    Args:
        counts: of the grid.
        absent_apart: the first bin is left as it is.
    """
    first = int(absent_apart)
    starts = [0, first] if absent_apart else [0]
    seen = first + np.flatnonzero(counts[first:])
    if not len(seen):
        return starts
    least = max(MIN_SHARE * int(counts.sum()), MIN_BIN_FACES)
    low, end = int(seen[0]), int(seen[-1]) + 1
    begins: list[int] = []
    held = 0
    for bin_ in range(low, end):
        if not begins or held >= least:
            begins.append(bin_)
            held = 0
        held += int(counts[bin_])
    if held < least and len(begins) > 1:
        begins.pop()  # what is left over goes with its neighbour
    beyond = [end] if end < len(counts) else []
    return sorted({*starts, *begins, *beyond})
