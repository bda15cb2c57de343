"""Selects the faces of a picture to parse and cuts a crop for each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpan.contract import AlignmentTemplate
from fpan.contract.face import Box, Window
from fpan.serve.api.errors import Impossible, TooLarge
from fpan.serve.pipeline.align import crop as align
from fpan.serve.pipeline.paste.labels import window_of
from fpan.serve.pipeline.types import Detection, Photo

SAME_FACE = 0.3
"""Least overlap (IoU) of a caller's box with a detected face for the box to use that face's landmarks."""


@dataclass(frozen=True)
class Target:
    """A face to be parsed."""

    crop: align.Crop
    window: Window
    """Part of the picture that the crop covers; never empty."""
    box: Box
    score: float | None = None
    landmarks: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Cutter:
    """Cuts faces out of one picture. Its methods take CPU time: call them in a worker thread."""

    photo: Photo
    template: AlignmentTemplate
    size: int
    """Side of the crops in pixels."""
    max_face_pixels: int
    """Most pixels of the windows of all faces together."""
    check: Callable[[], None]
    """Raises an error when the work should stop."""

    def whole(self) -> list[Target]:
        """The whole picture as one face."""
        box = (0.0, 0.0, float(self.photo.width), float(self.photo.height))
        return self._all([self._target(align.crop_whole(self.photo, self.size), box, None)])

    def found(self, faces: Sequence[Detection]) -> list[Target]:
        """The detected faces. Leaves out faces whose crop lies outside the picture.

        Raises:
            TooLarge: their windows have too many pixels together.
        """
        return self._all(self._found(face) for face in faces)

    def boxed(self, boxes: Sequence[Box], found: Sequence[Detection]) -> list[Target]:
        """The faces in a caller's boxes.

        Raises:
            Impossible: the crop of one of them lies outside the picture.
            TooLarge: their windows have too many pixels together.
        """
        return self._all(self._boxed(box, found) for box in boxes)

    def _all(self, targets: Iterable[Target | None]) -> list[Target]:
        kept: list[Target] = []
        pixels = 0
        for target in targets:
            self.check()
            if target is None:
                continue
            x0, y0, x1, y1 = target.window
            pixels += (x1 - x0) * (y1 - y0)
            if pixels > self.max_face_pixels:
                most = f"the {self.max_face_pixels} pixels that the faces of a picture may cover together"
                raise TooLarge(f"the faces cover more than {most}; ask for fewer or send a smaller picture")
            kept.append(target)
        return kept

    def _found(self, face: Detection) -> Target | None:
        try:
            return self._target(self._by_landmarks(face, face.box), face.box, face)
        except Impossible:
            return None

    def _boxed(self, box: Box, found: Sequence[Detection]) -> Target:
        """Cuts by the landmarks of the detected face that overlaps the box; without one, upright by the box alone."""
        nearest = max(found, key=lambda face: overlap(face.box, box), default=None)
        if nearest is not None and overlap(nearest.box, box) >= SAME_FACE:
            return self._target(self._by_landmarks(nearest, box), box, nearest)
        return self._target(align.crop_by_box(self.photo, box, self.template, self.size), box, None)

    def _by_landmarks(self, face: Detection, box: Box) -> align.Crop:
        try:
            return align.crop_by_landmarks(self.photo, face.landmarks, self.template, self.size)
        except ValueError:  # the points coincide
            return align.crop_by_box(self.photo, box, self.template, self.size)

    def _target(self, crop: align.Crop, box: Box, face: Detection | None) -> Target:
        window = window_of(crop, self.photo.width, self.photo.height)
        if window[2] == window[0]:
            raise Impossible("the picture shows nothing of the face in the box [{:g}, {:g}, {:g}, {:g}]".format(*box))
        if face is None:
            return Target(crop, window, box)
        return Target(crop, window, box, face.score, face.landmarks)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
