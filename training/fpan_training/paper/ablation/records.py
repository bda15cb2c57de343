"""All figures of the experiments, as rows of one long table: what the report, the CSV and the picture are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fpan_training.evaluate.bootstrap import Interval
from fpan_training.evaluate.confusion import Confusion, Scores
from fpan_training.evaluate.groups import OVERALL, group_f1s, group_ious
from fpan_training.evaluate.measure import Measured
from fpan_training.evaluate.strata import OCCLUDED_EDGES, YAW_EDGES, strata, yaw_of
from fpan_training.paper.ablation.figures import Difference, Figure, Noise, differences, figures_of, noise_of
from fpan_training.paper.ablation.paper import paper_table
from fpan_training.paper.ablation.plan import OURS, Job, Row
from fpan_training.paper.ablation.runs import HELDOUT, Cost
from fpan_training.taxonomy import TAXONOMY

ALL = "all"
"""The stratum of all pictures."""


@dataclass(frozen=True)
class Record:
    """One figure."""

    table: str
    """``I``, ``II`` or ``III`` of the paper, or what is ours alone: ``gain``, ``hidden``, ``yaw``, ``classes``,
    ``quality``."""
    row: str
    test: str
    """The set of pictures: ``occluded``, ``heldout``, ``clean``, ``posed``."""
    stratum: str
    name: str
    """Column: a group of classes, a class, or a kind of figure."""
    figure: Figure | Difference
    paper: float | None = None
    """The paper's own figure; it was measured on other data."""


@dataclass(frozen=True)
class Results:
    """All measured runs."""

    runs: Mapping[Job, Mapping[str, Measured]]
    costs: Mapping[str, Cost]
    """By architecture."""

    def measured(self, row: str, architecture: str, test: str) -> list[Measured]:
        """The runs of a row, one a seed."""
        return [
            sets[test]
            for job, sets in self.runs.items()
            if job.row.name == row and job.architecture == architecture and test in sets
        ]

    def confusions(self, row: str, architecture: str, test: str) -> list[Confusion]:
        """Their confusion matrices."""
        return [measured.confusion for measured in self.measured(row, architecture, test)]


def records(results: Results, rows: Sequence[Row], peers: Sequence[str]) -> list[Record]:
    """Everything that is reported."""
    tests = [test for test in ("occluded", HELDOUT, "clean") if results.confusions(rows[0].name, OURS, test)]
    noise = {test: _noise(results, rows, test) for test in tests}
    found = [record for row in rows for record in _of_row(results, row, rows[0], noise)]
    contenders = [(f"ours, {row.name}", row.name, OURS) for row in dict.fromkeys((rows[0], rows[-1]))]
    contenders += [(peer, rows[0].name, peer) for peer in peers]
    for title, row, architecture in contenders:
        for table, test in (("II", "clean"), ("III", "occluded")):
            found += _of_contender(results.measured(row, architecture, test), table, title, test)
    return found


def _noise(results: Results, rows: Sequence[Row], test: str) -> dict[str, Noise]:
    """By column: what seeds change, over all rows."""
    rows_of = [
        [group_ious(confusion.scores()) for confusion in results.confusions(row.name, OURS, test)] for row in rows
    ]
    return {name: noise_of([[seed[name] for seed in seeds] for seeds in rows_of]) for name in rows_of[0][0]}


def _of_row(results: Results, row: Row, first: Row, noise: Mapping[str, Mapping[str, Noise]]) -> list[Record]:
    found = []
    paper = paper_table("I").rows.get(row.name, {})
    for test in noise:
        seeds = results.confusions(row.name, OURS, test)
        for name, figure in figures_of(seeds, group_ious).items():
            figures = paper.get(name) if test == "occluded" else None
            found.append(Record("I", row.name, test, ALL, name, figure, figures))
        if row != first:
            gains = differences(seeds, results.confusions(first.name, OURS, test), group_ious, noise[test])
            found += [Record("gain", row.name, test, ALL, name, figure) for name, figure in gains.items()]
    hidden = results.measured(row.name, OURS, "occluded")
    found += _by_stratum("hidden", row.name, "occluded", hidden, hidden[0].occluded, OCCLUDED_EDGES, "%")
    posed = results.measured(row.name, OURS, "posed")
    if posed:
        for name, figure in figures_of([m.confusion for m in posed], _overall).items():
            found.append(Record("yaw", row.name, "posed", ALL, name, figure))
        yaws = np.array([yaw_of(name) for name in posed[0].names])
        found += _by_stratum("yaw", row.name, "posed", posed, yaws, YAW_EDGES, "°")
    return found


def _by_stratum(
    table: str,
    row: str,
    test: str,
    seeds: Sequence[Measured],
    values: np.ndarray,
    edges: Sequence[float],
    unit: str,
) -> list[Record]:
    divided = [strata(measured.confusion, values.tolist(), edges, unit) for measured in seeds]
    return [
        Record(table, row, test, same[0].name, name, figure)
        for same in zip(*divided, strict=True)
        for name, figure in figures_of([stratum.confusion for stratum in same], _overall).items()
    ]


def _of_contender(seeds: Sequence[Measured], table: str, title: str, test: str) -> list[Record]:
    confusions = [measured.confusion for measured in seeds]
    paper = paper_table(table).rows["Ours"] if title.startswith("ours") else {}
    found = [
        Record(table, title, test, ALL, name, figure, paper.get(name))
        for name, figure in figures_of(confusions, group_f1s).items()
    ]
    found += [Record(table, title, test, ALL, "mIoU", figures_of(confusions, _overall)[OVERALL])]
    found += [
        Record("classes", title, test, ALL, name, figure) for name, figure in figures_of(confusions, _by_class).items()
    ]
    outlines = [(m.boundaries.mean_f1(), m.boundaries.interval()) for m in seeds]
    calibration = [(m.calibration.error(), m.calibration.interval()) for m in seeds]
    for name, values in (("boundary F1", outlines), ("calibration error", calibration)):
        found.append(Record("quality", title, test, ALL, name, _of_seeds(values)))
    return found


def _of_seeds(values: Sequence[tuple[float, Interval]]) -> Figure:
    """Mean over seeds; its interval is the mean of the seeds' own."""
    means = [value for value, _ in values]
    low, high = np.mean([interval for _, interval in values], axis=0)
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")
    return Figure(float(np.mean(means)), Interval(float(low), float(high)), spread, len(means))


def _by_class(scores: Scores) -> dict[str, float]:
    return {c.name: float(f1) for c, f1 in zip(TAXONOMY.classes, scores.f1, strict=False)}


def _overall(scores: Scores) -> dict[str, float]:
    return {OVERALL: scores.miou}
