"""Trained LOM, DOM and PPM as routing asks them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from fpan.contract import AlignmentTemplate
from numpy.typing import NDArray

from fpan_training.landmarks.aligned import aligned, read_template
from fpan_training.landmarks.crop import invert
from fpan_training.modules.dom.pseudo import DeOcclusion
from fpan_training.modules.lom.predict import FaceLandmarks
from fpan_training.modules.ppm.predict import HeadPose
from fpan_training.paper.routing.protocols import DeOccluder, Image, LandmarkModel, Points, PoseModel


class Remover(Protocol):
    """A trained DOM: :class:`fpan_training.modules.dom.pseudo.DeOcclusion`."""

    def remove(self, image: Image) -> tuple[Image, NDArray[np.float32]]:
        """The face without what occludes it, and the probability of occlusion, (H, W), of an aligned square crop."""
        ...


@dataclass(frozen=True)
class AlignedDom:
    """DOM for pictures of any framing: it is shown the face as it was in its training, aligned."""

    dom: Remover
    template: AlignmentTemplate

    def __call__(self, image: Image, points: Points) -> NDArray[np.float32]:
        """See :class:`fpan_training.paper.routing.protocols.DeOccluder`."""
        matrix, side = aligned(points, self.template)
        # Filled from the picture's own edge, as in DOM's training.
        crop = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        occluded = self.dom.remove(np.asarray(crop, np.uint8))[1]
        height, width = image.shape[:2]
        return np.asarray(cv2.warpAffine(occluded, invert(matrix), (width, height)), np.float32)


def load_lom(path: Path) -> LandmarkModel:
    """LOM of a checkpoint that ``fpan-train train lom`` made."""
    return FaceLandmarks.load(path)


def load_dom(path: Path) -> DeOccluder:
    """DOM of a checkpoint that ``fpan-train train dom`` made."""
    return AlignedDom(DeOcclusion.load(path), read_template())


def load_ppm(path: Path) -> PoseModel:
    """PPM of a checkpoint that ``fpan-train train ppm`` made."""
    return HeadPose.load(path)
