"""Large pictures with faces at known places: real faces cut out by their labels, pasted onto scenes without people."""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fpan_training.data.folder import FaceFolder, Sample, read_rgb
from numpy.typing import NDArray

WIDTH, HEIGHT = 4000, 3000
GRID = (4, 3)
"""Columns and rows of cells; each cell has a scene of its own and at most one face."""
SIZES = (40, 400)
"""Least and largest height of the upright face's box, in pixels; drawn evenly over its logarithm."""
MAX_ROLL = 60
FACE_IDS = (1, 2, 3, 4, 5, 6, 7, 10, 11, 12)
"""Skin, nose, glasses, eyes, brows, mouth, lips: what makes the face's box."""
PASTED_IDS = tuple(i for i in range(1, 18))
"""All but background and clothes, which the picture's border cuts."""
L_EYE, R_EYE, MOUTH_IDS = 4, 5, (10, 11, 12)
MIN_EYE_PIXELS = 60
"""Of 512 x 512: smaller ones are half hidden, and their centroid is not the eye's."""


@dataclass(frozen=True)
class Truth:
    """A pasted face."""

    box: tuple[float, float, float, float]
    """Around the rolled face's labelled pixels, x0, y0, x1, y1."""
    size: float
    """Height of the upright face's box in pixels."""
    roll: float
    """Degrees clockwise."""
    eyes: NDArray[np.float64]
    """Centroids of the right and the left eye's labels, (2, 2); NaN where one is hidden."""
    mouth: NDArray[np.float64]
    """Right and left corner of the mouth's labels, (2, 2); NaN where it is hidden."""


def picture(faces: FaceFolder, scenes: list[Path], seed: int) -> tuple[NDArray[np.uint8], list[Truth]]:
    """A 12-megapixel picture with ten faces, RGB uint8 (3000, 4000, 3), the same for the same seed."""
    rng = np.random.default_rng(seed)
    cell = WIDTH // GRID[0]
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cells = [(x, y) for y in range(GRID[1]) for x in range(GRID[0])]
    for x, y in cells:
        scene = read_rgb(scenes[int(rng.integers(len(scenes)))])
        side = min(scene.shape[:2])
        part = cv2.resize(scene[:side, :side], (cell, cell), interpolation=cv2.INTER_CUBIC)
        canvas[y * cell : (y + 1) * cell, x * cell : (x + 1) * cell] = part
    truths = []
    for index in rng.permutation(len(cells))[:10]:
        x, y = cells[index]
        sample = faces[int(rng.integers(len(faces)))]
        size = math.exp(rng.uniform(*np.log(SIZES)))
        roll = float(rng.uniform(-MAX_ROLL, MAX_ROLL))
        free = max(0.0, cell / 2 - 1.3 * size)
        centre = np.array([x + 0.5, y + 0.5]) * cell + rng.uniform(-free, free, 2)
        truths.append(_paste(canvas, sample, size, roll, centre))
    return canvas, truths


def _paste(canvas: NDArray[np.uint8], sample: Sample, size: float, roll: float, centre: NDArray[np.float64]) -> Truth:
    face = np.isin(sample.labels, FACE_IDS)
    rows, columns = np.flatnonzero(face.any(1)), np.flatnonzero(face.any(0))
    middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
    scale = size / (rows[-1] - rows[0] + 1)
    alpha = np.isin(sample.labels, PASTED_IDS).astype(np.float32)
    image, shrink = sample.image, 1.0
    if scale < 1:  # by area first: a warp alone would alias
        shrink = round(512 * scale) / 512
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    alpha = cv2.GaussianBlur(alpha, (0, 0), max(0.6, 0.01 * size))
    turn = math.radians(roll)
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = np.column_stack([linear, centre - linear @ middle])
    reach = int(2 * size)
    x0, y0 = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    x1, y1 = min(WIDTH, int(centre[0]) + reach), min(HEIGHT, int(centre[1]) + reach)
    local = matrix.copy()
    local[:, 2] -= (x0, y0)
    if shrink < 1:
        local = local @ np.array(
            [[1 / shrink, 0, (1 / shrink - 1) / 2], [0, 1 / shrink, (1 / shrink - 1) / 2], [0, 0, 1]]
        )
    out = (x1 - x0, y1 - y0)
    warped = cv2.warpAffine(image, local, out, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpAffine(alpha, local, out, flags=cv2.INTER_LINEAR)[..., None]
    part = canvas[y0:y1, x0:x1]
    part[:] = np.round(weight * warped + (1 - weight) * part)

    def placed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points @ matrix[:, :2].T + matrix[:, 2]

    outline = placed(np.argwhere(face)[:, ::-1].astype(np.float64))
    box = (*outline.min(0) - scale / 2, *outline.max(0) + scale / 2)
    eyes = placed(np.array([_centroid(sample.labels == i) for i in (R_EYE, L_EYE)]))
    mouth = placed(_corners(np.isin(sample.labels, MOUTH_IDS)))
    return Truth(tuple(float(v) for v in box), size, roll, eyes, mouth)


def _centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    if mask.sum() < MIN_EYE_PIXELS:
        return np.full(2, np.nan)
    return np.argwhere(mask)[:, ::-1].mean(0)


def _corners(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    points = np.argwhere(mask)[:, ::-1].astype(np.float64)
    if len(points) < MIN_EYE_PIXELS:
        return np.full((2, 2), np.nan)
    left, right = points[:, 0].min(), points[:, 0].max()
    return np.array([points[points[:, 0] <= left + 2].mean(0), points[points[:, 0] >= right - 2].mean(0)])
