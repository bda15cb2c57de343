"""Row ``parts``: label maps of aligned faces against labels of all 19 classes."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from fpan.contract import Taxonomy

from fpan_training.evaluate.boundary import BoundaryCounts
from fpan_training.evaluate.confusion import Confusion, Scores, usual_figures
from fpan_training.evaluate.quality.network import parse
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import Figure, RowResult, figures_of
from fpan_training.evaluate.quality.row import Subject
from fpan_training.taxonomy import CELEBA19_CLASSES


@dataclass(frozen=True)
class Parts:
    """mIoU, mean F1, F1 by class and boundary F1 at the labels' own size; the first two at the input size as well."""

    name: ClassVar[str] = "parts"
    definition: ClassVar[int] = 1
    pictures: PictureSet

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        taxonomy, size = subject.network.taxonomy, subject.network.input_size
        own, at_input = (Confusion(CELEBA19_CLASSES, taxonomy.ignore) for _ in range(2))
        boundaries = BoundaryCounts(CELEBA19_CLASSES, taxonomy.ignore)
        for sample in self.pictures.tracked(self.name):
            parsed = parse(subject.network, sample.image)
            labels = parsed.labels
            own.add(sample.labels, labels)
            boundaries.add(sample.labels, labels)
            small = cv2.resize(sample.labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
            at_input.add(np.asarray(small, np.uint8), parsed.labels_at_input)
        subject.draw(self.name, self.pictures, [1 - Scores.of(matrix).accuracy for matrix in own.matrices])
        figures = figures_of(_figures(own.scores(), taxonomy), own.intervals(figures=lambda s: _figures(s, taxonomy)))
        shrunk = figures_of(usual_figures(at_input.scores()), at_input.intervals())
        figures |= {f"input/{name}": figure for name, figure in shrunk.items()}
        figures["boundary_f1"] = Figure.of(boundaries.mean_f1(), boundaries.interval())
        return self.pictures.result(self.definition, figures)


def _figures(scores: Scores, taxonomy: Taxonomy) -> dict[str, float]:
    names = [c.name for c in taxonomy.classes[: len(scores.f1)]]
    return usual_figures(scores) | {f"f1/{name}": float(f1) for name, f1 in zip(names, scores.f1, strict=True)}
