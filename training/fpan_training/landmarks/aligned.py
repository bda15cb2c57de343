"""Where the face's aligned frame lies in a photo, as CelebA-HQ has it, and what is cut out there."""

from importlib import resources

import cv2
import numpy as np
from fpan.contract import AlignmentTemplate, similarity
from numpy.typing import NDArray

from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceRecord
from fpan_training.landmarks.teacher import Teacher
from fpan_training.taxonomy import TAXONOMY

_TEMPLATE = resources.files(__package__) / "alignment_celeba.json"
_FOUR = (0, 1, 3, 4)
_FOUR_OF_68 = (range(36, 42), range(42, 48), (48,), (54,))
"""Eyes and corners of the mouth among the template's five points and the usual 68. What the detector that the template
was fitted by takes for the tip of the nose lies higher than the mesh's.
"""


def align(
    image: NDArray[np.uint8], teacher: Teacher, template: AlignmentTemplate, size: int
) -> tuple[NDArray[np.uint8], FaceRecord] | None:
    """The largest face of a photo, RGB uint8 (size, size, 3), and what the teacher sees in the crop; None without one.

    What lies beyond the photo repeats its edge.
    """
    record = teacher(image)
    if not record.found:
        return None
    crop = cut_image(image, frame_matrix(record.points264, template, size), size, cv2.BORDER_REPLICATE)
    record = teacher(crop)
    return (crop, record) if record.found else None


def frame_matrix(
    points: NDArray[np.float32], template: AlignmentTemplate, size: int, frame: float = 1.0
) -> NDArray[np.float64]:
    """The matrix (2, 3) from a photo's pixels to those of its crop.

    Args:
        points: float32 (264, 2) in the photo's pixels.
        template: where the face's points lie, in shares of the aligned frame.
        size: side of the crop in pixels.
        frame: width of the crop in widths of the aligned frame, about whose centre it lies.
    """
    matrix, side = aligned(points, template)
    zoom = size / (frame * side)
    scaled = matrix * zoom
    # About the frame's centre, which lies between pixels where a side is even.
    scaled[:, 2] += (size - 1) / 2 - zoom * (side - 1) / 2
    return scaled


def cut_image(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, border: int) -> NDArray[np.uint8]:
    """A crop of a photo, uint8 (size, size, 3).

    Args:
        image: the photo, uint8 (H, W, 3).
        matrix: float64 (2, 3), see :func:`frame_matrix`.
        size: side of the crop in pixels.
        border: OpenCV's border mode for what lies beyond the photo; BORDER_CONSTANT is black.
    """
    zoom = float(np.sqrt(np.linalg.det(matrix[:, :2])))
    if zoom < 1:
        # Shrunk by area first: the warp alone would leave pixels out.
        height, width = image.shape[:2]
        small = max(1, round(width * zoom)), max(1, round(height * zoom))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
        fx, fy = width / small[0], height / small[1]
        matrix = matrix @ np.array([[fx, 0, fx / 2 - 0.5], [0, fy, fy / 2 - 0.5], [0, 0, 1]])
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=border), np.uint8)


def cut_labels(labels: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The mask of the same crop, uint8 (size, size): the nearest pixel's value; 255 beyond the photo."""
    return np.asarray(
        cv2.warpAffine(labels, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=TAXONOMY.ignore), np.uint8
    )


def aligned(points: NDArray[np.float32], template: AlignmentTemplate) -> tuple[NDArray[np.float64], int]:
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


def read_template() -> AlignmentTemplate:
    """How the pictures that the modules learn from are aligned: as CelebAMask-HQ."""
    return AlignmentTemplate.model_validate_json(_TEMPLATE.read_bytes())
