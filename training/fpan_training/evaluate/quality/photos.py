"""Rows ``street``, ``news`` and ``masked``: whole photos whose labels tell groups of classes apart.

They go through the service as it finds and crops faces; the whole picture as one face stands beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fpan_training.evaluate.confusion import Confusion, Scores
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.quality.network import parse
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import Figure, RowResult, figures_of
from fpan_training.evaluate.quality.row import Subject

Wanted = Mapping[str, tuple[int, Literal["iou", "f1"]]]
"""Name of a figure to the value of the masks that it is of, and which figure it is."""


@dataclass(frozen=True)
class Photos:
    """Figures of some groups of classes: ``full/...`` are of one run of the network on the whole picture; where there
    is a service, ``auto/...`` are of its answers, and ``found`` is the share of the pictures in which it finds a face.

    A picture without a face counts as wholly background, as the service answers it.
    """

    pictures: PictureSet
    definition: ClassVar[int] = 1
    name: ClassVar[str]
    wanted: ClassVar[Wanted]

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        grouping, ignore = Grouping(self.pictures.space), subject.network.taxonomy.ignore
        full, auto = (Confusion(len(grouping), ignore) for _ in range(2))
        found = 0
        for sample, path in zip(self.pictures.tracked(self.name), self.pictures.paths, strict=True):
            truth = grouping.truth(sample.labels)
            full.add(truth, grouping.predicted(parse(subject.network, sample.image).labels, truth))
            if subject.service is not None:
                answer = subject.service(path, "auto")
                auto.add(truth, grouping.predicted(answer.labels, truth))
                found += answer.faces > 0
        subject.draw(self.name, self.pictures, [1 - Scores.of(matrix).accuracy for matrix in full.matrices])
        figures = self._figures("full", full)
        if subject.service is not None:
            figures |= self._figures("auto", auto) | {"found": Figure.of(found / len(self.pictures))}
        return self.pictures.result(self.definition, figures)

    def _figures(self, how: str, confusion: Confusion) -> dict[str, Figure]:
        order = [value for value, _ in self.pictures.space.declared]

        def named(scores: Scores) -> dict[str, float]:
            kinds: dict[str, NDArray[np.float64]] = {"iou": scores.iou, "f1": scores.f1}
            return {
                f"{how}/{name}": float(kinds[kind][order.index(value)]) for name, (value, kind) in self.wanted.items()
            }

        return figures_of(named(confusion.scores()), confusion.intervals(figures=named))


@dataclass(frozen=True)
class Street(Photos):
    """``ccp_wide``: heads and shoulders of people on streets."""

    name: ClassVar[str] = "street"
    wanted: ClassVar[Wanted] = {
        "hair_iou": (13, "iou"),
        "hat_f1": (14, "f1"),
        "glasses_f1": (3, "f1"),
        "clothes_iou": (18, "iou"),
        "skin_iou": (1, "iou"),
    }


@dataclass(frozen=True)
class News(Photos):
    """``lfw_parts``: news photos; the borders of their labels are rough."""

    name: ClassVar[str] = "news"
    wanted: ClassVar[Wanted] = {"face_iou": (1, "iou"), "hair_iou": (13, "iou")}


@dataclass(frozen=True)
class Masked(Photos):
    """``maskedface500``: faces of all ages behind medical masks."""

    name: ClassVar[str] = "masked"
    wanted: ClassVar[Wanted] = {"occlusion_iou": (19, "iou"), "face_iou": (1, "iou")}
