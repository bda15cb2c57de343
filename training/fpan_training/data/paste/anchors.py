"""Where on a head worn things hang: between the eyes, at the temples, below the ears, at the sides of the neck."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.occlusion.frame import FaceFrame, Points, frame_of

Labels = NDArray[np.uint8]
LEFT, RIGHT = -1, 1
"""Sides of the picture: the person's right ear is to its left."""
_LEAST_EYE = 8
"""Pixels that an eye, or a brow in its stead, has at least."""
_LEAST_EAR = 0.22
"""Height of an ear's visible part, in distances from eyes to chin, from which on its lowest part is the lobe."""
_LOBE = 0.15
"""Lowest share of an ear's height that is taken for the lobe."""
_LEVELS = 48
"""Heights below the chin at which the neck's sides are measured."""
_FARTHEST = 1.6
"""Distance below the chin up to which that is done, in distances from eyes to chin."""


@dataclass(frozen=True)
class Head:
    """A face and what is about it, in pixels of the picture."""

    labels: Labels
    """Class ids, uint8 (H, W)."""
    frame: FaceFrame
    taxonomy: Taxonomy

    @cached_property
    def unit(self) -> float:
        """Distance from between the eyes to the chin: it changes little when a head is turned aside."""
        return max(1.0, float(np.hypot(*(self.frame.chin - self.frame.bridge))))

    @cached_property
    def width(self) -> float:
        """Width of the face along the line of the eyes."""
        return max(1.0, float(np.ptp(self.frame.local(self.frame.outline)[:, 0])))

    @cached_property
    def yaw(self) -> float:
        """How far the head is turned to the right of the picture: the middle between the eyes, from the middle of the
        face, in widths of the face; 0 from the front, about 0.2 in a half profile.
        """
        across = self.frame.local(self.frame.outline)[:, 0]
        middle = (float(across.min()) + float(across.max())) / 2
        bridge, nose = self.frame.local(np.stack([self.frame.bridge, self.frame.nose]))[:, 0]
        return float((bridge + nose) / 2 - middle) / self.width

    @cached_property
    def skin(self) -> NDArray[np.bool_]:
        """Pixels of class skin, bool (H, W)."""
        return self.mask("skin")

    def mask(self, *names: str) -> NDArray[np.bool_]:
        """Pixels of some classes, bool (H, W)."""
        table = np.zeros(256, np.uint8)
        table[[self.taxonomy.id_of(name) for name in names]] = 1
        return np.asarray(cv2.LUT(self.labels, table), np.uint8).view(np.bool_)

    def at(self, x: float, y: float) -> Points:
        """A point, (2,), given by its place to the right of and below the middle between the eyes, in :attr:`unit`."""
        return np.asarray(self.frame.bridge + self.unit * (x * self.frame.right + y * self.frame.down))

    def place(self, points: Points) -> Points:
        """Points (N, 2) of the picture as :meth:`at` takes them."""
        axes = np.column_stack([self.frame.right, self.frame.down])
        return np.asarray((points - self.frame.bridge) @ axes / self.unit)

    def lobe(self, side: int) -> Points | None:
        """Where an earring hangs, (2,); None where that ear's lower part is not seen."""
        # Of the largest piece: labels have stray pixels.
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(
            self.mask("r_ear" if side == LEFT else "l_ear").view(np.uint8)
        )
        if count < 2:
            return None
        rows, columns = np.nonzero(numbers == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
        points = np.column_stack([columns, rows]).astype(np.float64)
        along = points @ self.frame.down
        height = float(np.ptp(along))
        if height < _LEAST_EAR * self.unit:
            return None
        return np.asarray(points[along >= along.max() - _LOBE * height].mean(0))

    def temples(self) -> Points:
        """The face's sides at the height of the eyes, left in the picture first, float64 (2, 2)."""
        across = self.frame.local(self.frame.outline)[:, 0]
        level = float(self.frame.local(self.frame.bridge[None])[0, 1])
        ends = np.array([[across.min(), level], [across.max(), level]])
        return np.asarray(ends @ np.stack([self.frame.right, self.frame.down]) + self.frame.centre)

    def neck_sides(self) -> Points:
        """The neck's borders: rows of height below the eyes, left and right, float64 (N, 3), as :meth:`place` has
        them; none where no neck is seen.
        """
        levels = self.place(self.frame.chin[None])[0, 1] + np.linspace(0, _FARTHEST, _LEVELS)
        across = np.arange(-1.3, 1.3, max(0.01, 1.0 / self.unit))
        places = self.frame.bridge + self.unit * (
            across[None, :, None] * self.frame.right + levels[:, None, None] * self.frame.down
        )
        pixels = np.rint(places).astype(int)
        height, width = self.labels.shape
        inside = ((pixels >= 0) & (pixels < [width, height])).all(-1)
        seen = np.zeros(inside.shape, bool)
        seen[inside] = self.mask("neck", "neck_l")[pixels[inside][:, 1], pixels[inside][:, 0]]
        rows = [(level, across[row][0], across[row][-1]) for level, row in zip(levels, seen, strict=True) if row.any()]
        return np.array(rows, float).reshape(-1, 3)


def head_of(labels: Labels, points264: NDArray[np.float32] | None, taxonomy: Taxonomy) -> Head | None:
    """Finds a head; None where there is no face, or neither both eyes nor both brows of it are seen.

    Args:
        labels: class ids, uint8 (H, W).
        points264: landmarks, float32 (264, 2), if there are any; they say where the parts are then.
        taxonomy: of the labels.
    """
    if points264 is None:
        counts = np.bincount(labels.ravel(), minlength=256)
        pairs = (("l_eye", "r_eye"), ("l_brow", "r_brow"))
        if not any(all(counts[taxonomy.id_of(name)] >= _LEAST_EYE for name in pair) for pair in pairs):
            return None
    frame = frame_of(labels, points264, (labels.shape[0], labels.shape[1]), taxonomy)
    return None if frame is None else Head(labels, frame, taxonomy)
