"""A trained LOM for whoever wants the landmarks of a face in a picture, and to know what is covered."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fpan_training.landmarks import face_crop, warp_points
from fpan_training.landmarks.crop import invert
from fpan_training.modules.lom.model import INPUT_SIZE, Lom, load
from fpan_training.modules.lom.step import LomStep
from fpan_training.modules.ppm.predict import crop
from fpan_training.paper.routing.protocols import LandmarkPrediction


@dataclass(frozen=True)
class FaceLandmarks:
    """LOM for whole pictures: it crops about roughly known landmarks, as in training."""

    network: Lom
    step: LomStep = field(default_factory=LomStep)

    @classmethod
    def load(cls, path: Path) -> "FaceLandmarks":
        """From a checkpoint that ``fpan-train train lom`` made."""
        return cls(load(path))

    def __call__(self, image: NDArray[np.uint8], points: NDArray[np.float32]) -> LandmarkPrediction:
        """Landmarks, float32 (264, 2) in the picture's pixels, and the probability that each is visible, of the face
        in a picture, RGB uint8 (H, W, 3), that lies about ``points``, float32 (264, 2).
        """
        matrix = face_crop(points, INPUT_SIZE, self.network.config.margin)
        predictions = self.step.predict(self.network, torch.from_numpy(crop(image, matrix, INPUT_SIZE))[None])
        return LandmarkPrediction(warp_points(predictions.points[0], invert(matrix)), predictions.visibility[0])
