"""Routing of a picture: asks LOM, decides, and has DOM label what is occluded and not marked."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.label_space import LabelSpace
from fpan_training.paper.routing.decision import Decision, Route, RoutingConfig, decide
from fpan_training.paper.routing.merge import merge
from fpan_training.paper.routing.protocols import DeOccluder, Image, LandmarkModel, Points

Labels = NDArray[np.uint8]
UNLABELLED = "occlusion"
"""The label space of pictures that had no labels: DOM tells occlusion from everything else, and no part of a face."""


class Routing(NamedTuple):
    """Where a picture goes, and with which labels."""

    decision: Decision
    labels: Labels | None
    """uint8 (H, W): the picture's own, or with DOM's occlusion; None for :attr:`Route.NOWHERE`."""


@dataclass(frozen=True)
class Router:
    """F(landmark, Occlusion, Mask) and F(Mask) with the networks that they ask."""

    lom: LandmarkModel
    dom: DeOccluder
    config: RoutingConfig = field(default_factory=RoutingConfig)
    space: LabelSpace = field(default_factory=LabelSpace.full)
    """What the values of the labels stand for."""

    def __call__(self, name: str, image: Image, labels: Labels | None, points: Points | None) -> Routing:
        """Decides about a picture and labels it.

        Args:
            name: of the picture.
            image: RGB uint8 (H, W, 3).
            labels: uint8 (H, W); None where there are none.
            points: roughly where the face is, float32 (264, 2); None where no face was found.
        """
        decision = self.decide(name, image, labels, points)
        return Routing(decision, self.labels(decision, image, labels, points))

    def decide(self, name: str, image: Image, labels: Labels | None, points: Points | None) -> Decision:
        """The decision alone. Arguments as above."""
        answer = None if points is None else self.lom(image, points)
        return decide(name, labels, answer, self.config, self.space)

    def labels(self, decision: Decision, image: Image, labels: Labels | None, points: Points | None) -> Labels | None:
        """The labels that a picture goes to SEGM with; DOM is asked only by :attr:`Route.DOM_SEGM`.

        Arguments as above. Where there were no labels they are of the space :data:`UNLABELLED`: occlusion, or not.
        """
        if decision.route is not Route.DOM_SEGM or points is None:
            return labels
        if labels is None:
            nothing = np.zeros(image.shape[:2], np.uint8)
            return merge(nothing, self.dom(image, points), self.config, LabelSpace.preset(UNLABELLED))
        return merge(labels, self.dom(image, points), self.config, self.space)
