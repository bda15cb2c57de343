"""Cuts the faces of a photo into aligned square crops, the same way as in training."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan.contract import AlignmentTemplate
from fpan.contract.face import Box
from fpan.serve.api.errors import Impossible
from fpan.serve.pipeline.types import Photo


def prepared(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts RGB, uint8 (H, W, 3), to the RGBA, uint8 (H, W, 4), that :func:`warp` takes."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), np.uint8)


def warp(
    picture: NDArray[np.uint8], to_picture: NDArray[np.float64], size: tuple[int, int], outside: int
) -> NDArray[np.uint8]:
    """Resamples a picture under an affine map, with linear interpolation.

    Args:
        picture: a result of :func:`prepared`.
        to_picture: maps pixels of the result to pixels of the picture; integers are pixel centres.
        size: width and height of the result in pixels.
        outside: grey level of pixels outside the picture.

    Returns:
        RGB, uint8 (height, width, 3).
    """
    moved = cv2.warpAffine(
        picture,
        to_picture,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(outside,) * 4,
    )
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_RGBA2RGB), np.uint8)


_MOST_SHRINK = 2.0
"""Bilinear sampling skips pixels when it shrinks more than this; the photo is then shrunk by area first."""


@dataclass(frozen=True)
class Crop:
    """A square cut out of a photo, with the map from the photo to the crop."""

    pixels: NDArray[np.uint8]
    """RGB, uint8 (size, size, 3); black where the photo has no pixels."""
    matrix: NDArray[np.float64]
    """2x3, maps the photo's pixels to the crop's; integers are pixel centres. It is a similarity, except that
    :func:`crop_whole` rounds both sides to whole pixels."""

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.pixels.shape[0])

    @property
    def enlargement(self) -> float:
        """Pixels of the photo for each pixel of the crop; above 1 the face is larger than the crop."""
        return 1 / float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    @property
    def corners(self) -> NDArray[np.float64]:
        """The crop's corners in the photo, float (4, 2)."""
        edge = self.size - 0.5
        square = np.array([(-0.5, -0.5), (edge, -0.5), (edge, edge), (-0.5, edge)])
        inverse = cv2.invertAffineTransform(self.matrix)
        return np.asarray(square @ inverse[:, :2].T + inverse[:, 2], np.float64)


def crop_by_landmarks(photo: Photo, landmarks: NDArray[np.float32], template: AlignmentTemplate, size: int) -> Crop:
    """The crop in which the five points lie on the template.

    Raises:
        ValueError: the points coincide.
    """
    return _cut(photo, template.crop_matrix(landmarks, size), size)


def inside(photo: Photo, box: Box) -> Box:
    """The part of a box that lies in the photo.

    Raises:
        Impossible: the box lies wholly outside the photo.
    """
    x0, y0, x1, y1 = box
    if x1 <= 0 or y1 <= 0 or x0 >= photo.width or y0 >= photo.height:
        picture = f"the picture of {photo.width} x {photo.height} pixels"
        raise Impossible(f"the box [{x0:g}, {y0:g}, {x1:g}, {y1:g}] lies outside {picture}")
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(photo.width)), min(y1, float(photo.height))


def crop_by_box(photo: Photo, box: Box, template: AlignmentTemplate, size: int) -> Crop:
    """The upright crop that places the visible part of a face's box on the mean box of the training faces.

    Raises:
        Impossible: the box lies wholly outside the photo.
    """
    x0, y0, x1, y1 = inside(photo, box)
    tx0, ty0, tx1, ty1 = template.box
    scale = size * float(np.sqrt((tx1 - tx0) * (ty1 - ty0) / ((x1 - x0) * (y1 - y0))))
    shift_x = size * (tx0 + tx1) / 2 - 0.5 - scale * ((x0 + x1) / 2 - 0.5)
    shift_y = size * (ty0 + ty1) / 2 - 0.5 - scale * ((y0 + y1) / 2 - 0.5)
    return _cut(photo, np.array([[scale, 0, shift_x], [0, scale, shift_y]]), size)


def crop_whole(photo: Photo, size: int) -> Crop:
    """The whole photo, letterboxed: it is centred in the square, and its longer side fills the square."""
    scale = size / max(photo.width, photo.height)
    width, height = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.zeros((size, size, 3), np.uint8)
    left, top = (size - width) // 2, (size - height) // 2
    pixels[top : top + height, left : left + width] = cv2.resize(photo.pixels, (width, height), interpolation=how)
    # Rounding changes each side's scale by a different factor. The photo's x maps to (x + 0.5) * sx - 0.5, since
    # integers are pixel centres.
    sx, sy = width / photo.width, height / photo.height
    matrix = np.array([[sx, 0, left + 0.5 * sx - 0.5], [0, sy, top + 0.5 * sy - 0.5]])
    return Crop(pixels, matrix)


def _cut(photo: Photo, matrix: NDArray[np.float64], size: int) -> Crop:
    x0, y0, x1, y1 = _window(matrix, size, photo)
    image = photo.pixels[y0:y1, x0:x1]
    fx = fy = 1.0
    shrink = 1 / float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink > _MOST_SHRINK:
        width, height = max(1, round((x1 - x0) / int(shrink))), max(1, round((y1 - y0) / int(shrink)))
        fx, fy = (x1 - x0) / width, (y1 - y0) / height
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    # From the (shrunk) window's pixels to the photo's, then on to the crop's.
    back = np.array([[fx, 0, x0 + fx / 2 - 0.5], [0, fy, y0 + fy / 2 - 0.5], [0, 0, 1]])
    to_window = np.asarray(cv2.invertAffineTransform(matrix @ back), np.float64)
    return Crop(warp(prepared(image), to_window, (size, size), 0), matrix)


def _window(matrix: NDArray[np.float64], size: int, photo: Photo) -> tuple[int, int, int, int]:
    """The part of the photo under a crop, with a margin for sampling; never empty."""
    corners = Crop(np.empty((size, size, 3), np.uint8), matrix).corners
    margin = 1 / float(np.hypot(matrix[0, 0], matrix[1, 0])) * 2
    low = np.floor(corners.min(0) - margin).astype(int)
    high = np.ceil(corners.max(0) + margin).astype(int)
    x0, y0 = np.clip(low, 0, [photo.width - 1, photo.height - 1])
    x1, y1 = np.clip(high, [x0 + 1, y0 + 1], [photo.width, photo.height])
    return int(x0), int(y0), int(x1), int(y1)
