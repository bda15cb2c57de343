"""Trained LOM, DOM and PPM as routing asks them."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from fpan.contract import AlignmentTemplate, similarity
from numpy.typing import NDArray

from fpan_training.dom.pseudo import DeOcclusion
from fpan_training.landmarks import SCHEME
from fpan_training.landmarks.crop import invert
from fpan_training.lom.predict import FaceLandmarks
from fpan_training.ppm.predict import HeadPose
from fpan_training.routing.protocols import DeOccluder, Image, LandmarkModel, Points, PoseModel

_TEMPLATE = resources.files("fpan_training.segm") / "alignment_celeba.json"
_FOUR = (0, 1, 3, 4)
_FOUR_OF_68 = (range(36, 42), range(42, 48), (48,), (54,))
"""Eyes and corners of the mouth among the template's five points and the usual 68. What the detector that the template
was fitted by takes for the tip of the nose lies higher than the mesh's.
"""


class Remover(Protocol):
    """A trained DOM: :class:`fpan_training.dom.pseudo.DeOcclusion`."""

    def remove(self, image: Image) -> tuple[Image, NDArray[np.float32]]:
        """The face without what occludes it, and the probability of occlusion, (H, W), of an aligned square crop."""
        ...


@dataclass(frozen=True)
class AlignedDom:
    """DOM for pictures of any framing: it is shown the face as it was in its training, aligned."""

    dom: Remover
    template: AlignmentTemplate

    def __call__(self, image: Image, points: Points) -> NDArray[np.float32]:
        """See :class:`fpan_training.routing.protocols.DeOccluder`."""
        matrix, side = aligned(points, self.template)
        # Filled from the picture's own edge, as in DOM's training.
        crop = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        occluded = self.dom.remove(np.asarray(crop, np.uint8))[1]
        height, width = image.shape[:2]
        return np.asarray(cv2.warpAffine(occluded, invert(matrix), (width, height)), np.float32)


def aligned(points: Points, template: AlignmentTemplate) -> tuple[NDArray[np.float64], int]:
    """The aligned crop about a face at the picture's own resolution: its matrix (2, 3) and its side in pixels.

    Args:
        points: float32 (264, 2) in the picture's pixels.
        template: where the face's points lie, in shares of the crop.
    """
    points68 = SCHEME.to68(points).astype(np.float64)
    four = np.stack([points68[list(members)].mean(0) for members in _FOUR_OF_68])
    to_shares = similarity(four, np.asarray(template.points)[list(_FOUR)])
    zoom = float(np.sqrt(np.linalg.det(to_shares[:, :2])))
    side = max(1, round(1 / zoom))
    # A share counts from the crop's edge, a pixel from the first one's centre.
    matrix = to_shares * side
    matrix[:, 2] -= 0.5
    return matrix, side


def load_lom(path: Path) -> LandmarkModel:
    """LOM of a checkpoint that ``fpan-train lom`` made."""
    return FaceLandmarks.load(path)


def load_dom(path: Path) -> DeOccluder:
    """DOM of a checkpoint that ``fpan-train dom`` made."""
    return AlignedDom(DeOcclusion.load(path), read_template())


def read_template() -> AlignmentTemplate:
    """How the pictures that DOM learnt from are aligned: as SEGM's, CelebAMask-HQ."""
    return AlignmentTemplate.model_validate_json(_TEMPLATE.read_bytes())


def load_ppm(path: Path) -> PoseModel:
    """PPM of a checkpoint that ``fpan-train ppm`` made."""
    return HeadPose.load(path)
