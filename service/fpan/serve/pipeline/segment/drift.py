"""The newest faces of a version as counts, compared with the reference in its card. Of a face no more is kept."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, sqrt

import numpy as np

from fpan.contract import ModelCard, ReferenceHistogram, Taxonomy
from fpan.contract.drift import FACE_SIZE, Counts, Edges, grid_of, quantities
from fpan.contract.figures import crop_figures
from fpan.serve.inference.batcher import Arrays
from fpan.serve.pipeline.align.pose import solve
from fpan.serve.pipeline.align.targets import Target

SLICES = 10
"""Into which a window is cut: the oldest goes as a whole."""

Figures = dict[str, float]
"""What is measured of a face, by name of the quantity."""
Bins = list[int]
"""Where a window counts a face: one place a quantity."""


@dataclass(frozen=True)
class DriftRules:
    """What of the traffic is compared, and when it is enough."""

    window_faces: int
    """Newest faces that are compared."""
    min_faces: int
    """Fewest faces that are compared."""
    min_score: float
    """Least detector score of a face that counts: a detector that looks more closely finds others."""


@dataclass(frozen=True)
class Observed:
    """One quantity over the faces of a window."""

    edges: Edges
    counts: Counts
    """Of each bin, (len(edges) + 1,)."""
    reference: ReferenceHistogram | None
    """None where the card has none."""
    psi: float | None
    """Against the reference; None without it, and as long as there are too few faces."""


class FaceWindow:
    """Counts over at least the newest ``window_faces`` faces, and a tenth more at most.

    Its size does not depend on the faces. ``bins_of`` may run in any thread; all else belongs to the event loop, so
    that nothing is locked.
    """

    def __init__(self, card: ModelCard, rules: DriftRules) -> None:
        assert card.taxonomy is not None
        self.card = card
        self._taxonomy: Taxonomy = card.taxonomy
        self._rules = rules
        self._references = {histogram.quantity: histogram for histogram in card.reference}
        self._edges: dict[str, Edges] = {}
        self._first: dict[str, int] = {}
        places = 0
        for quantity in quantities(card.taxonomy):
            reference = self._references.get(quantity)
            edges = tuple(sorted({*grid_of(quantity), *(reference.edges if reference else ())}))
            self._edges[quantity], self._first[quantity] = edges, places
            places += len(edges) + 1
        self._places = places
        self._slice_faces = ceil(rules.window_faces / SLICES)
        # The window and the slice that is being filled beside it.
        self._slices: deque[Counts] = deque([self._nothing()], maxlen=SLICES + 1)
        self._newest_faces = 0

    def bins_of(self, targets: Sequence[Target], answers: Sequence[Arrays]) -> list[Bins]:
        """Where the faces of a picture are to be counted; without those that the detector is not sure of."""
        measured = (
            face_figures(target, answer, self._taxonomy)
            for target, answer in zip(targets, answers, strict=True)
            if target.score is not None and target.score >= self._rules.min_score
        )
        return [
            [self._first[quantity] + bisect_right(self._edges[quantity], value) for quantity, value in figures.items()]
            for figures in measured
        ]

    def add(self, faces: Sequence[Bins]) -> None:
        """Counts faces; those that are too old are forgotten."""
        for bins in faces:
            if self._newest_faces == self._slice_faces:
                self._slices.append(self._nothing())
                self._newest_faces = 0
            self._slices[-1][bins] += 1
            self._newest_faces += 1

    @property
    def faces(self) -> int:
        """That are counted now."""
        return self._slice_faces * (len(self._slices) - 1) + self._newest_faces

    def observed(self) -> dict[str, Observed]:
        """Every quantity of the faces that are counted now."""
        counts = np.sum(self._slices, axis=0)
        found = {}
        for quantity, edges in self._edges.items():
            first = self._first[quantity]
            own = counts[first : first + len(edges) + 1]
            reference = self._references.get(quantity)
            enough = int(own.sum()) >= self._rules.min_faces
            psi = reference.psi(edges, own) if reference is not None and enough else None
            found[quantity] = Observed(edges, own, reference, psi)
        return found

    def _nothing(self) -> Counts:
        return np.zeros(self._places, np.int64)


def face_figures(target: Target, answer: Arrays, taxonomy: Taxonomy) -> Figures:
    """All that is measured of a face: of the network's answer about its crop, of its landmarks and of its box.

    What a caller chose to see of it (classes, frame, abstaining) changes nothing. Pose and size are left out where
    they cannot be told.
    """
    labels, confidence = (np.asarray(answer[name], np.uint8) for name in ("labels", "confidence"))
    figures = crop_figures(labels, confidence, taxonomy)
    pose = None if target.landmarks is None else solve(target.landmarks)
    if pose is not None:
        figures |= asdict(pose)
    x0, y0, x1, y1 = target.box
    figures[FACE_SIZE] = sqrt(max(x1 - x0, 0.0) * max(y1 - y0, 0.0))
    return figures
