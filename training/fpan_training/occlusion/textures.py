"""Colours for blobs and shapes: parts of given pictures, or noise drawn in code."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_OCTAVES = (3, 7, 17, 41)
"""Places a side of the grids of random values that are added up, each half as strong as the one before."""
_P_BANDS = 0.3
"""Noise that is folded into bands, as of marble or cloth."""


def texture(rng: np.random.Generator, size: int, given: Sequence[Image] = ()) -> Image:
    """A square texture, RGB uint8 (size, size, 3): one half of them parts of ``given``, where there are any."""
    if given and rng.random() < 0.5:
        scene = given[int(rng.integers(len(given)))]
        side = max(8, int(min(scene.shape[:2]) * rng.uniform(0.2, 0.8)))
        top, left = (int(rng.integers(extent - side + 1)) for extent in scene.shape[:2])
        part = scene[top : top + side, left : left + side]
        return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    colours = rng.uniform(0, 255, (3, 3)).astype(np.float32)
    field = noise(rng, size)
    if rng.random() < _P_BANDS:
        slope = np.linspace(0, rng.uniform(2, 8), size, dtype=np.float32)
        field = np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * (3 * field + slope)), np.float32)
    levels = np.linspace(0, 2, 256)
    ramp = np.stack([np.interp(levels, (0, 1, 2), colours[:, channel]) for channel in range(3)], 1)
    return np.asarray(ramp.astype(np.uint8)[np.asarray(field * 255, np.uint8)])


def noise(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Smooth noise of 0 to 1, float32 (size, size)."""
    total = np.zeros((size, size), np.float32)
    for octave, places in enumerate(_OCTAVES):
        grid = rng.random((places, places), np.float32) * np.float32(0.5**octave)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)
