"""Figures by stratum: how much of the face is hidden, how far the head is turned."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.evaluate.confusion import Confusion

OCCLUDED_EDGES = (0.0, 0.05, 0.2, 0.4, 1.0)
"""Shares of the face that are hidden. The generator hides up to 0.6 of it."""
YAW_EDGES = (0.0, 20.0, 50.0, 90.0)
"""Degrees of yaw to either side: nearly frontal, half-profile, profile."""
_YAW = re.compile(r"yaw([+-]?\d+)")


class Stratum(NamedTuple):
    """Pictures of a range of values."""

    name: str
    confusion: Confusion


def strata(confusion: Confusion, values: Sequence[float], edges: Sequence[float], unit: str = "") -> list[Stratum]:
    """Divides pictures by a value of each: those of exactly the first edge, then (edge, next edge] for each range.

    Where the first edge is 0 its stratum is what has nothing of the value: the clean pictures, the frontal ones.

    Args:
        confusion: one matrix a picture.
        values: one a picture, in the same order; NaN belongs to no stratum.
        edges: rising.
        unit: written behind the numbers of the names; ``%`` shows shares as such.

    Raises:
        ValueError: the numbers of pictures and values differ, or a value lies outside of the edges.
    """
    if len(values) != len(confusion.matrices):
        raise ValueError(f"{len(confusion.matrices)} pictures have {len(values)} values")
    found = np.asarray(values, float)
    if (outside := (found < edges[0]) | (found > edges[-1])).any():
        raise ValueError(f"values outside of {edges[0]} to {edges[-1]}: {found[outside].tolist()}")
    scale = 100 if unit == "%" else 1
    named = [f"{edge * scale:g}{unit}" for edge in edges]
    ranges = [(named[0], found == edges[0])]
    for i in range(len(edges) - 1):
        ranges.append((f"{named[i]} to {named[i + 1]}", (found > edges[i]) & (found <= edges[i + 1])))
    return [Stratum(name, confusion.of_pictures(inside)) for name, inside in ranges if inside.any()]


def occluded_share(labels: NDArray[np.uint8], taxonomy: Taxonomy) -> float:
    """Share of the face that is hidden: the occluding object's pixels against those and the face's visible parts.

    An object that reaches beyond the face counts whole, so this is more than the share of the face that lies under it.
    0 where there is neither.
    """
    hidden = int((labels == taxonomy.id_of("occlusion")).sum())
    face = int(np.isin(labels, [taxonomy.id_of(name) for name in taxonomy.groups["face"]]).sum())
    return hidden / (hidden + face) if hidden else 0.0


def yaw_of(name: str) -> float:
    """Degrees of yaw to either side, from a picture's name; NaN where it does not say."""
    match = _YAW.search(name)
    return abs(float(match[1])) if match else float("nan")
