"""Mean absolute errors of head poses, by axis and by how far the head is turned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from fpan_training.engine.plots import contact_sheet, some
from fpan_training.face3d import pose
from fpan_training.modules.ppm.data import PoseData, collate
from fpan_training.modules.ppm.model import AXES, PpmConfig
from fpan_training.modules.ppm.sources import PoseSet
from fpan_training.modules.ppm.step import PoseStep

YAW_BINS = ((0.0, 30.0), (30.0, 60.0), (60.0, 99.0))
"""Degrees of |yaw|: the parts in which AFLW2000-3D is reported (Zhu et al. 2016), the last one up to the bins' end."""
_BATCH = 16
_SHOWN, _PER_ROW = 18, 6
"""Faces on a contact sheet."""
_COLOURS = ((255, 60, 60), (60, 220, 60), (80, 140, 255))
"""RGB of the axes that are drawn: to the person's left, down, and out of the face."""

Array = NDArray[np.float64]
Predict = Callable[[nn.Module, torch.Tensor], Array]


@dataclass(frozen=True)
class PoseErrors:
    """Truth and prediction of a set of faces."""

    name: str
    truth: Array
    """float64 (N, 3): yaw, pitch, roll in degrees."""
    predicted: Array
    """float64 (N, 3)."""
    axes: tuple[str, ...] = AXES
    """Those that are known."""

    def mae(self, axis: str, turned: tuple[float, float] = (0.0, np.inf)) -> float:
        """Mean absolute error about an axis in degrees, of faces whose |yaw| lies within ``turned``; NaN for none."""
        chosen = self.within(turned)
        column = AXES.index(axis)
        errors = np.abs(self.predicted - self.truth)[chosen, column]
        return float(errors.mean()) if errors.size else float("nan")

    def mean(self, turned: tuple[float, float] = (0.0, np.inf)) -> float:
        """Mean of the known axes' errors in degrees."""
        return float(np.mean([self.mae(axis, turned) for axis in self.axes]))

    def bias(self, axis: str) -> float:
        """Mean signed error about an axis in degrees."""
        column = AXES.index(axis)
        return float((self.predicted - self.truth)[:, column].mean())

    def geodesic(self) -> float:
        """Mean angle in degrees between true and predicted rotation; NaN where an axis is not known."""
        if self.axes != AXES:
            return float("nan")
        return float(pose.geodesic(pose.rotation(self.truth), pose.rotation(self.predicted)).mean())

    def within(self, turned: tuple[float, float]) -> NDArray[np.bool_]:
        """Which faces' true |yaw| lies in [low, high), bool (N,)."""
        yaw = np.abs(self.truth[:, 0])
        return np.asarray((yaw >= turned[0]) & (yaw < turned[1]))


def measure(network: nn.Module, step: PoseStep, faces: PoseSet, config: PpmConfig) -> PoseErrors:
    """What a network says of the faces of a set.

    Raises:
        ValueError: the set is empty.
    """
    if not faces.faces:
        raise ValueError(f"{faces.name} has no face to measure on: the store found none of its {faces.missing}")
    loader = DataLoader(PoseData(faces.faces, config), _BATCH, collate_fn=collate)
    predicted = [step.predict(network, batch.images) for batch in loader]
    truth = np.stack([face.angles for face in faces.faces])
    return PoseErrors(faces.name, truth, np.concatenate(predicted), faces.axes)


def validate(network: nn.Module, step: PoseStep, faces: PoseSet, config: PpmConfig, sheet: Path) -> dict[str, float]:
    """Mean absolute errors about the axes in degrees; minus their mean is the score. Draws a contact sheet."""
    errors = measure(network, step, faces, config)
    data, shown = PoseData(faces.faces, config), some(range(len(faces.faces)), _SHOWN)
    contact_sheet([draw_axes(data[i][0].numpy(), errors.predicted[i]) for i in shown], sheet, _PER_ROW)
    return {"score": -errors.mean(), **{f"mae_{axis}": errors.mae(axis) for axis in AXES}}


def draw_axes(image: NDArray[np.uint8], angles: Array) -> NDArray[np.uint8]:
    """A face crop, uint8 (H, W, 3), with the axes of a head of these angles in degrees, float64 (3,)."""
    drawn, side = image.copy(), image.shape[0]
    centre = np.full(2, side / 2)
    outwards = pose.rotation(angles) * (1, 1, -1)
    for colour, axis in zip(_COLOURS, outwards[:2].T, strict=True):
        start, end = (tuple(np.rint(at).astype(int).tolist()) for at in (centre, centre + axis * 0.4 * side))
        cv2.line(drawn, start, end, colour, max(1, side // 64), cv2.LINE_AA)
    return drawn
