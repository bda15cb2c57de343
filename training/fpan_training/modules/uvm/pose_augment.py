"""A labelled face at another pose: picture and labels, warped by the same sampling."""

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpan_training.data.assets import Assets
from fpan_training.face3d import pose
from fpan_training.face3d.fit import FaceFit
from fpan_training.face3d.surroundings import SurroundingsConfig, turn
from fpan_training.face3d.uv import unwrap
from fpan_training.modules.uvm.complete import Completer, without_occlusion
from fpan_training.taxonomy import TAXONOMY

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]
_INPAINT_RADIUS = 3
"""Pixels about a hole that its colours come from."""
_EDGE = (5, 5)
"""Of the blur along the edge of a background that was put in, in pixels (:mod:`fpan_training.data.augment`)."""


@dataclass(frozen=True)
class PoseAugmentConfig:
    """Where heads are turned to."""

    yaw_deg: float = 75.0
    """Greatest yaw to either side."""
    pitch_deg: float = 30.0
    """Greatest pitch up or down."""
    one_sided_deg: float = 10.0
    """A head whose yaw is greater than this is turned to the side that it looks to already: the picture shows what is
    seen from there."""
    p_background: float = 0.3
    """Replace what is labelled background, where there are pictures to replace it by."""
    surroundings: SurroundingsConfig = field(default_factory=SurroundingsConfig)
    """How what lies about the head is warped along."""


class Posed(NamedTuple):
    """A face at another pose."""

    image: Image
    """RGB, uint8 (H, W, 3)."""
    labels: Labels
    """Class ids, uint8 (H, W); 255 in holes."""
    fit: FaceFit
    """The face where it is now."""


@dataclass(frozen=True)
class PoseAugment:
    """Turns heads to random poses; the same generator state gives the same bytes."""

    completion: Completer
    config: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    assets: Assets = field(default_factory=Assets)

    def __call__(
        self,
        image: Image,
        labels: Labels,
        fit: FaceFit,
        rng: np.random.Generator,
        angles_deg: ArrayLike | None = None,
    ) -> Posed:
        """The face at another pose, what is about it warped along (face profiling, Zhu et al. 2016).

        Args:
            image: RGB, uint8 (H, W, 3).
            labels: class ids, uint8 (H, W). What is labelled occlusion does not turn: the face is completed there.
            fit: the face in it.
            rng: all chance comes from it.
            angles_deg: yaw, pitch and roll to turn to; None: drawn.
        """
        angles = self.draw(fit, rng) if angles_deg is None else angles_deg
        flat = without_occlusion(unwrap(image, fit, self.completion.size, labels))
        turned = turn(image, labels, fit, self.completion.complete(flat), angles, self.config.surroundings)
        if turned.labels is None:
            raise ValueError("labels went in and none came out")
        shown, hole = turned.image, turned.hole
        if hole.any():
            shown = np.asarray(cv2.inpaint(shown, hole.astype(np.uint8), _INPAINT_RADIUS, cv2.INPAINT_TELEA), np.uint8)
        if self.assets.backgrounds and rng.random() < self.config.p_background:
            shown = self._background(shown, turned.labels, rng)
        return Posed(shown, turned.labels, fit.posed(pose.rotation(angles)))

    def draw(self, fit: FaceFit, rng: np.random.Generator) -> tuple[float, float, float]:
        """Angles to turn a face to; its roll stays."""
        yaw, _, roll = (float(angle) for angle in fit.angles)
        drawn = float(rng.uniform(-self.config.yaw_deg, self.config.yaw_deg))
        if abs(yaw) > self.config.one_sided_deg:
            drawn = float(np.copysign(drawn, yaw))
        return drawn, float(rng.uniform(-self.config.pitch_deg, self.config.pitch_deg)), roll

    def _background(self, image: Image, labels: Labels, rng: np.random.Generator) -> Image:
        height, width = labels.shape
        scene = self.assets.background(rng, max(height, width))[:height, :width]
        behind = np.isin(labels, (TAXONOMY.background, TAXONOMY.ignore)).astype(np.float32)
        alpha = cv2.GaussianBlur(behind, _EDGE, 0)[..., None]
        return np.asarray(image * (1 - alpha) + scene * alpha + 0.5, np.uint8)
