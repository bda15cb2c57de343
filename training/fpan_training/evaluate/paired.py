"""How much better one network is than another on the same pictures: differences with intervals of their own.

Of two networks that err on the same pictures the difference is known far better than either figure, so each draw of the
bootstrap takes the same pictures of both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.bootstrap import Interval, bootstrap
from fpan_training.evaluate.confusion import Confusion, Scores

Figures = Callable[[Scores], Mapping[str, float]]
"""Named figures of scores, as :func:`fpan_training.evaluate.groups.group_ious` gives them."""


class Gain(NamedTuple):
    """How much higher a figure is than another."""

    mean: float
    interval: Interval
    """95 % by bootstrap over pictures, the same ones drawn for both."""


def gains(ours: Sequence[Confusion], theirs: Sequence[Confusion], figures: Figures) -> dict[str, Gain]:
    """How much higher the figures of ``ours`` are than those of ``theirs``, each the mean over its runs.

    Raises:
        ValueError: they were not measured on the same pictures.
    """
    counts, split = stack([*ours, *theirs]), len(ours)

    def difference(total: NDArray[np.int64]) -> dict[str, float]:
        mine, others = mean_figures(total[:split], figures), mean_figures(total[split:], figures)
        return {name: mine[name] - others[name] for name in mine}

    whole, intervals = difference(counts.sum(0)), bootstrap(counts, difference)
    return {name: Gain(value, intervals[name]) for name, value in whole.items()}


def stack(runs: Sequence[Confusion]) -> NDArray[np.int64]:
    """Counts, int (pictures, runs, classes, classes + 1).

    Raises:
        ValueError: they were not measured on the same pictures.
    """
    if len({len(confusion.matrices) for confusion in runs}) != 1:
        raise ValueError("runs that are compared must be measured on the same pictures: delete the stale counts (.npz)")
    return np.stack([np.array(confusion.matrices, np.int64) for confusion in runs], 1)


def mean_figures(totals: NDArray[np.int64], figures: Figures) -> dict[str, float]:
    """Means over runs of the figures of each one's summed matrix, int (runs, classes, classes + 1)."""
    rows = [figures(Scores.of(total)) for total in totals]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
