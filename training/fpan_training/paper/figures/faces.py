"""The faces that figures show: aligned as the modules expect them, and covered or turned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fpan.contract import AlignmentTemplate
from numpy.typing import NDArray

from fpan_training.data.assets import Assets
from fpan_training.data.folder import DataError, read_rgb
from fpan_training.face3d.fit import FaceFit, fit
from fpan_training.landmarks.aligned import align
from fpan_training.landmarks.store import FaceRecord
from fpan_training.landmarks.teacher import Teacher
from fpan_training.occlusion.generator import KINDS, Occluded, OcclusionConfig, OcclusionGenerator
from fpan_training.taxonomy import TAXONOMY

SIDE = 512
"""Of the aligned pictures, in pixels."""
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Face:
    """An aligned picture of a face."""

    name: str
    image: Image
    """RGB, uint8 (side, side, 3)."""
    record: FaceRecord
    """What the landmark teacher sees in it."""

    @property
    def points(self) -> NDArray[np.float32]:
        """The 264 landmarks, float32 (264, 2)."""
        return self.record.points264

    def fit(self) -> FaceFit:
        """The 3D face."""
        return fit(self.record.mesh478)


def read_face(path: Path, teacher: Teacher, template: AlignmentTemplate) -> Face:
    """The largest face of a picture, aligned.

    Raises:
        DataError: the picture cannot be read, or the teacher sees no face.
    """
    found = align(read_rgb(path), teacher, template, SIDE)
    if found is None:
        raise DataError(f"{path}: the landmark teacher sees no face: show another picture")
    return Face(path.stem, *found)


def cover(face: Face, assets: Assets, seed: int, kind: str | None = None) -> Occluded:
    """The face with something before it: of a kind of the generator's, or of any."""
    weights: dict[str, Any] = {} if kind is None else {each: float(each == kind) for each in KINDS}
    generator = OcclusionGenerator(OcclusionConfig(**weights), assets, TAXONOMY)
    return generator(face.image, None, face.points, np.random.default_rng(seed))
