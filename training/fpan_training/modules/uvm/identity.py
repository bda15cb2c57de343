"""How much two UV maps look like the same person: features of the face that they show from the front."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.rasterise import rasterise
from fpan_training.landmarks.crop import face_crop, warp_points
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.modules.lom.model import INPUT_SIZE, Lom, load
from fpan_training.modules.segm.preprocess import Normalise

_LEVELS = 255

Features = Callable[[Tensor], Tensor]
"""Faces, RGB float (B, 3, H, W) in 0 to 1, to features (B, D)."""


class Identity(nn.Module):
    """Distance of the features of two batches of maps, each shown as a face from the front.

    UV-GAN (Deng et al. 2018) asks a network for face recognition about the UV map itself; this one asks a network that
    knows faces, and so shows it one. The view is the same mean face for all: where in the map each of its pixels lies
    is worked out once, and the features' gradient reaches the map through plain bilinear sampling.
    """

    grid: Tensor
    covered: Tensor

    def __init__(self, features: Features, grid_hw2: Tensor, covered_hw: Tensor) -> None:
        """Of a feature extractor and a view.

        Args:
            features: what looks at the faces; its parameters are frozen here.
            grid_hw2: where in the map each pixel lies, float (H, W, 2), -1 to 1 as for ``grid_sample``.
            covered_hw: which pixels show the face, bool (H, W).
        """
        super().__init__()
        self.features = features
        if isinstance(features, nn.Module):
            features.eval().requires_grad_(False)
        self.register_buffer("grid", grid_hw2)
        self.register_buffer("covered", covered_hw.float())

    def view(self, texture_bchw: Tensor) -> Tensor:
        """The faces that maps (B, 3, S, S) show from the front: (B, 3, H, W), black around."""
        grid = self.grid.expand(len(texture_bchw), -1, -1, -1)
        return F.grid_sample(texture_bchw, grid, mode="bilinear", align_corners=False) * self.covered

    def forward(self, texture_bchw: Tensor, truth_bchw: Tensor) -> Tensor:
        """One less the features' cosine, mean over the batch: 0 for the same map. No gradient for the truth."""
        with torch.no_grad():
            truth = self.features(self.view(truth_bchw))
        return 1 - F.cosine_similarity(self.features(self.view(texture_bchw)), truth).mean()


class LomFeatures(nn.Module):
    """What LOM's trunk makes of a face before its last stages: where features still say how a part looks."""

    def __init__(self, lom: Lom) -> None:
        super().__init__()
        self.lom = lom
        self.normalise = Normalise()

    def forward(self, faces_bchw: Tensor) -> Tensor:
        """Features (B, D) of faces, float (B, 3, 112, 112) in 0 to 1, cropped as LOM's are."""
        pixels = self.normalise(faces_bchw.permute(0, 2, 3, 1) * _LEVELS)
        return cast(Tensor, self.lom.before_pose(self.lom.stem(pixels))).flatten(1)


def lom_identity(checkpoint: Path) -> Identity:
    """The identity of a checkpoint of ``fpan-train train lom``."""
    lom = load(checkpoint)
    return Identity(LomFeatures(lom), *frontal_view(INPUT_SIZE, lom.config.margin))


def frontal_view(size: int, margin: float) -> tuple[Tensor, Tensor]:
    """Where in the map each pixel of a crop about the mean face, seen from the front, lies.

    Args:
        size: side of the crop in pixels.
        margin: about the face's landmarks, as :func:`fpan_training.landmarks.face_crop` takes it.

    Returns:
        grid: float (size, size, 2), -1 to 1 as for ``grid_sample`` with corners at the edges of texels.
        covered: which pixels show the face, bool (size, size).
    """
    model = FaceModel.load()
    matrix = face_crop(SCHEME.from_mesh(model.mesh478(model.neutral)), size, margin)
    placed = np.column_stack([warp_points(model.neutral[:, :2], matrix), model.neutral[:, 2]])
    raster = rasterise(placed, model.triangles, size, size)
    grid = np.zeros((size, size, 2), np.float32)
    grid[raster.covered] = raster.interpolate(model.uv) * 2 - 1
    return torch.from_numpy(grid), torch.from_numpy(raster.covered)
