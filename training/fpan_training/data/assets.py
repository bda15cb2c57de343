"""Pictures that augmentation draws from: backgrounds and cut-out occluders."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, read_rgb

_VAL_SHARE = 8
"""Every eighth occluder file is kept for validation."""
_OCCLUDER_SIDE = 256
"""Occluders are kept in memory at no more than this side, in pixels."""


@dataclass(frozen=True)
class Assets:
    """Backgrounds, RGB, and occluders, RGBA with straight alpha, cropped to what is opaque."""

    backgrounds: tuple[NDArray[np.uint8], ...] = field(default=(), repr=False)
    occluders: tuple[NDArray[np.uint8], ...] = field(default=(), repr=False)

    @classmethod
    def open(cls, backgrounds: Path | None, occluders: Path | None) -> "Assets":
        """Reads folders of pictures; only the occluders of the training split."""
        scenes = () if backgrounds is None else tuple(read_rgb(p) for p in sorted(backgrounds.glob("*.jpg")))
        files = [] if occluders is None else sorted(p for p in occluders.rglob("*.webp"))
        return cls(scenes, tuple(read_rgba(p) for i, p in enumerate(files) if i % _VAL_SHARE))

    def background(self, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
        """A random part of a random background, uint8 (size, size, 3)."""
        scene = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        side = max(16, int(min(scene.shape[:2]) * rng.uniform(0.5, 1)))
        top = int(rng.integers(scene.shape[0] - side + 1))
        left = int(rng.integers(scene.shape[1] - side + 1))
        part = cv2.resize(scene[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(part[:, ::-1] if rng.random() < 0.5 else part, np.uint8)

    def occluder(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """A random occluder, RGBA uint8 (H, W, 4)."""
        return self.occluders[int(rng.integers(len(self.occluders)))]


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """Reads a cut-out as RGBA, cropped to its alpha.

    Raises:
        DataError: it is no image with alpha, or wholly transparent.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        raise DataError(f"{path} is not an image with alpha")
    rows, columns = np.flatnonzero((image[..., 3] > 127).any(1)), np.flatnonzero((image[..., 3] > 127).any(0))
    if rows.size == 0:
        raise DataError(f"{path} is wholly transparent")
    part = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shrink = _OCCLUDER_SIDE / max(part.shape[:2])
    if shrink < 1:
        part = cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(part, cv2.COLOR_BGRA2RGBA), np.uint8)
