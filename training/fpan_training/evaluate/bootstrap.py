"""95 % intervals by drawing the pictures again, with replacement (Efron; percentile method)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BOOTSTRAP_ROUNDS = 1000
_CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def bootstrap(
    counts: NDArray[np.int64],
    figures: Callable[[NDArray[np.int64]], Mapping[str, float]],
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of figures that follow from counts summed over pictures.

    Args:
        counts: one row a picture, int (pictures, ...).
        figures: from the sum over pictures, int (...), to named figures. NaN, where a draw has none of what is
            measured, is left out.
        rounds: how often the pictures are drawn.
        seed: of the draws.

    Raises:
        ValueError: there is no picture.
    """
    if not len(counts):
        raise ValueError("there are no intervals without pictures")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=rounds)
    totals = np.tensordot(drawn, counts, 1)
    rows = [figures(total) for total in totals]
    return {name: _interval(np.array([row[name] for row in rows])) for name in rows[0]}


def _interval(values: NDArray[np.float64]) -> Interval:
    known = values[~np.isnan(values)]
    if not known.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Interval(float(low), float(high))
