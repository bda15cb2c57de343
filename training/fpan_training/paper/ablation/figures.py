"""From counts to figures: the mean over seeds, its interval over pictures, the spread over seeds, and differences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from fpan_training.evaluate.bootstrap import Interval, bootstrap
from fpan_training.evaluate.confusion import Confusion
from fpan_training.evaluate.paired import Figures, gains, mean_figures, stack

_UPPER = 0.975
"""Quantile of an interval of 95 %."""


class Figure(NamedTuple):
    """One cell of a table."""

    mean: float
    """Over seeds."""
    interval: Interval
    """95 % of the mean, by bootstrap over pictures: what other pictures would have given."""
    spread: float
    """Standard deviation over seeds, what another training would have given; NaN for one seed."""
    seeds: int


def figures_of(seeds: Sequence[Confusion], figures: Figures) -> dict[str, Figure]:
    """The figures of runs that differ by their seeds, by name.

    Raises:
        ValueError: they were not measured on the same pictures.
    """
    single = [figures(confusion.scores()) for confusion in seeds]
    intervals = bootstrap(stack(seeds), lambda total: mean_figures(total, figures))
    return {
        name: Figure(
            float(np.mean([row[name] for row in single])),
            intervals[name],
            float(np.std([row[name] for row in single], ddof=1)) if len(single) > 1 else float("nan"),
            len(single),
        )
        for name in single[0]
    }


class Difference(NamedTuple):
    """How much higher a figure is than another."""

    mean: float
    interval: Interval
    """95 % by bootstrap over pictures, the same ones drawn for both."""
    chance: float
    """What seeds alone make of it in 95 of 100 cases, to either side; NaN where no row has several seeds."""

    @property
    def clear(self) -> bool:
        """Neither other pictures nor other seeds explain it."""
        return abs(self.mean) > self.chance and (self.interval.low > 0 or self.interval.high < 0)


class Noise(NamedTuple):
    """What training again with another seed changes."""

    deviation: float
    """Standard deviation, pooled over the rows with several seeds; NaN without any."""
    freedom: int
    """Degrees of freedom that it was estimated with."""

    def chance(self, ours: int, theirs: int) -> float:
        """Half-width of the 95 % interval about 0 of the difference of means over so many seeds (Student's t)."""
        if self.freedom < 1:
            return float("nan")
        return float(t.ppf(_UPPER, self.freedom) * self.deviation * np.sqrt(1 / ours + 1 / theirs))


def noise_of(rows: Iterable[Sequence[float]]) -> Noise:
    """From the figures of each row's seeds."""
    several = [np.asarray(row) for row in rows if len(row) > 1]
    freedom = sum(len(row) - 1 for row in several)
    if not freedom:
        return Noise(float("nan"), 0)
    return Noise(float(np.sqrt(sum(((row - row.mean()) ** 2).sum() for row in several) / freedom)), freedom)


def differences(
    ours: Sequence[Confusion], theirs: Sequence[Confusion], figures: Figures, noise: Mapping[str, Noise]
) -> dict[str, Difference]:
    """How much higher the figures of ``ours`` are than those of ``theirs``; ``noise`` by figure."""
    return {
        name: Difference(gain.mean, gain.interval, noise[name].chance(len(ours), len(theirs)))
        for name, gain in gains(ours, theirs, figures).items()
    }
