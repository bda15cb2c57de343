"""Runs the served detector on pictures of one face, for fitting the alignment."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

INPUT_SIZE = 640
FACE_HEIGHT = 84
"""Height of the face's box in the input, in pixels: as in the gateway's last look, since landmarks shift with size."""
PADDING = 114
MIRRORED = (1, 0, 2, 4, 3)
"""Which of ``fpan.contract.FIVE_POINTS`` each one becomes in a mirrored picture."""


class FaceFinder:
    """The best scored face of a picture."""

    def __init__(self, model: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Finds it, looks again at :data:`FACE_HEIGHT`, plain and mirrored, and gives the mean.

        Args:
            image: RGB, uint8 (H, W, 3).

        Returns:
            x0, y0, x1, y1, five points (x, y) and the score, (15,), in pixels of the picture; points have integers at
            pixel centres, box edges lie between pixels.
        """
        whole = INPUT_SIZE / max(image.shape[:2])
        first = self._best(image, whole)
        small = FACE_HEIGHT / max(first[2] - first[0], first[3] - first[1])
        plain = self._best(image, small)
        turned = self._best(np.ascontiguousarray(image[:, ::-1]), small)
        return np.asarray((plain + mirror(turned, image.shape[1])) / 2, np.float64)

    def _best(self, image: NDArray[np.uint8], scale: float) -> NDArray[np.float64]:
        """The best row of the network's ``faces``, in pixels of the picture."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        ratio = np.array([size[0] / width, size[1] / height])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, size, interpolation=how)
        view = np.full((1, INPUT_SIZE, INPUT_SIZE, 3), PADDING, np.uint8)
        corner = np.array([(INPUT_SIZE - size[0]) // 2, (INPUT_SIZE - size[1]) // 2])
        view[0, corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]] = small
        row = np.asarray(self._session.run(["faces"], {"image": view})[0][0, 0], np.float64)
        box = (row[:4].reshape(2, 2) - corner) / ratio
        points = (row[4:14].reshape(5, 2) - corner + 0.5) / ratio - 0.5
        return np.concatenate([box.ravel(), points.ravel(), row[14:]])


def mirror(face: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """A face (15,) as it is in the mirrored picture of that width, left and right exchanged."""
    box, points = face[:4].reshape(2, 2).copy(), face[4:14].reshape(5, 2)[list(MIRRORED)]
    box[:, 0] = width - box[::-1, 0]
    points[:, 0] = width - 1 - points[:, 0]
    return np.concatenate([box.ravel(), points.ravel(), face[14:]])
