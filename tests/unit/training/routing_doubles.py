"""LOM and DOM with known answers, for the tests of routing."""

from dataclasses import dataclass, field

import numpy as np
from fpan_training.data.label_space import LabelSpace
from fpan_training.paper.routing import RoutingConfig
from fpan_training.paper.routing.protocols import LandmarkPrediction
from fpan_training.taxonomy import TAXONOMY

OCCLUSION, SKIN, GLASSES = (TAXONOMY.id_of(name) for name in ("occlusion", "skin", "eye_g"))
UNKNOWN = TAXONOMY.ignore
SIDE = 32
CONFIG = RoutingConfig()
FULL = LabelSpace.full()


def face_points() -> np.ndarray:
    """264 points, a grid of 22 x 12 over the middle of the picture."""
    x, y = np.meshgrid(np.linspace(6, 25, 22), np.linspace(6, 25, 12))
    return np.column_stack([x.ravel(), y.ravel()]).astype(np.float32)


@dataclass
class FixedLom:
    """Says that a share of the landmarks is hidden, those at the top first."""

    hidden: float | dict[int, float] = 0.0
    """The share, or the share by the picture's brightness."""
    asked: int = 0

    def __call__(self, image: np.ndarray, points: np.ndarray) -> LandmarkPrediction:
        self.asked += 1
        share = self.hidden if isinstance(self.hidden, float) else self.hidden[int(image[0, 0, 0])]
        visibility = np.ones(264, np.float32)
        visibility[: round(264 * share)] = 0.2
        return LandmarkPrediction(points, visibility)


@dataclass
class FixedDom:
    """Says that the upper half is occluded, is unsure about the next row, and sure about the rest."""

    asked: list[int] = field(default_factory=list)

    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        self.asked.append(int(image[0, 0, 0]))
        occluded = np.zeros(image.shape[:2], np.float32)
        half = len(occluded) // 2
        occluded[:half], occluded[half] = 0.95, 0.5
        return occluded


class NoDom:
    def __call__(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        raise AssertionError("DOM was asked")


def plain_image(brightness: int = 0) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), brightness, np.uint8)


def plain_labels(value: int = SKIN) -> np.ndarray:
    return np.full((SIDE, SIDE), value, np.uint8)


def marked_labels() -> np.ndarray:
    labels = plain_labels()
    labels[:8] = OCCLUSION
    return labels
