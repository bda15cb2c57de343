"""Row ``posed``: heads turned by up to 90 degrees, whose labels tell groups of classes apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.bootstrap import bootstrap
from fpan_training.evaluate.confusion import Confusion, Scores
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.quality.network import parse
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import Figure, RowResult, figures_of
from fpan_training.evaluate.quality.row import Subject
from fpan_training.evaluate.strata import YAW_EDGES, strata, yaw_of

HELD_OUT = ("06", "07")
"""People that nothing is trained on: the first two digits after ``personne`` in the names."""
_PERSON = re.compile(r"personne(\d\d)")
_POINTS = 100


@dataclass(frozen=True)
class Posed:
    """mIoU over the groups of classes by yaw to either side, and how far the worst bin is below the frontal faces."""

    name: ClassVar[str] = "posed"
    definition: ClassVar[int] = 1
    pictures: PictureSet

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        grouping = Grouping(self.pictures.space)
        confusion = Confusion(len(grouping), subject.network.taxonomy.ignore)
        for sample in self.pictures.tracked(self.name):
            truth = grouping.truth(sample.labels)
            confusion.add(truth, grouping.predicted(parse(subject.network, sample.image).labels, truth))
        names = self.pictures.names
        held = np.array([person_of(name) in HELD_OUT for name in names])
        subject.draw(self.name, self.pictures, [1 - Scores.of(matrix).accuracy for matrix in confusion.matrices])
        figures = _by_yaw(confusion.of_pictures(held), [n for n, h in zip(names, held, strict=True) if h])
        everybody = _by_yaw(confusion, names)
        figures |= {f"all people/{name}": figure for name, figure in everybody.items()}
        return self.pictures.result(self.definition, figures)


def person_of(name: str) -> str:
    """Two digits; empty where the name does not say."""
    match = _PERSON.search(name)
    return match[1] if match else ""


def _by_yaw(confusion: Confusion, names: Sequence[str]) -> dict[str, Figure]:
    """``miou``; ``below_frontal`` in points, over the bins ``yaw/0°`` to ``yaw/50° to 90°``; ``step/0`` to ``step/90``,
    one for every angle that the names tell.
    """
    yaws = np.array([yaw_of(name) for name in names])
    steps = np.unique(yaws)
    # Steps are summed apart, so that a draw of the bootstrap has as many pictures of each as it happens to draw.
    of_step = (yaws == steps[:, None]).astype(np.int64)
    counts = np.einsum("sp,pij->psij", of_step, np.array(confusion.matrices, np.int64))

    def figures(total: NDArray[np.int64]) -> dict[str, float]:
        summed = Confusion(confusion.classes, confusion.ignore, list(total))
        bins = {
            f"yaw/{part.name}": part.confusion.scores().miou for part in strata(summed, steps.tolist(), YAW_EDGES, "°")
        }
        frontal = next(iter(bins.values()))
        found = {"miou": summed.scores().miou, "below_frontal": _POINTS * (frontal - min(bins.values())), **bins}
        return found | {f"step/{yaw:g}": Scores.of(each).miou for yaw, each in zip(steps, total, strict=True)}

    return figures_of(figures(counts.sum(0)), bootstrap(counts, figures))
