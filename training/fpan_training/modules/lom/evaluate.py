"""How well landmarks are placed and covered ones told: NME, failures, AUC and F1."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from fpan_training.engine.plots import contact_sheet, some
from fpan_training.modules.lom.data import EYE_CORNERS, LomData, collate
from fpan_training.modules.lom.pictures import draw_landmarks
from fpan_training.modules.lom.step import LomStep

_IBUG_CORNERS = (36, 45)
"""Outer corners of the eyes in the usual 68, from 0."""
FAILURE = 0.1
"""NME between the eyes from which on a face counts as failed (300-W)."""
_THRESHOLD = 0.5
"""A landmark is called covered when its visibility is less probable."""
FOUND = 0.9
"""Share of the covered landmarks that have to be found where false alarms are compared."""
_BATCH = 32
_SHOWN, _PER_ROW = 18, 6
"""Faces on a contact sheet."""

Array = NDArray[np.float64]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class PointErrors:
    """Normalised mean errors, one a face."""

    name: str
    interocular: Array
    """float64 (N,): mean distance over the landmarks, in distances between the outer corners of the eyes."""
    box: Array
    """float64 (N,): the same in sides of a square of the area of the box about the true landmarks."""

    @property
    def failures(self) -> float:
        """Share of the faces whose interocular error is above :data:`FAILURE`."""
        return float((self.interocular > FAILURE).mean())


def point_errors(name: str, predicted: Iterable[Points], truth: Iterable[Points], eyes: tuple[int, int]) -> PointErrors:
    """The errors of faces' landmarks, each (K, 2); ``eyes`` are the indices of the outer corners of the eyes."""
    between, boxed = [], []
    for said, true in zip(predicted, truth, strict=True):
        mean = float(np.linalg.norm(said - true, axis=1).mean())
        between.append(mean / float(np.linalg.norm(true[eyes[0]] - true[eyes[1]])))
        boxed.append(mean / float(np.sqrt(np.ptp(true, axis=0).prod())))
    return PointErrors(name, np.array(between), np.array(boxed))


def ibug_errors(name: str, predicted: Iterable[Points], truth: Iterable[Points]) -> PointErrors:
    """The errors of the usual 68."""
    return point_errors(name, predicted, truth, _IBUG_CORNERS)


@dataclass(frozen=True)
class VisibilityFigures:
    """How well covered landmarks are told from visible ones; NaN where there are not both."""

    auc: float
    """Area under the ROC curve over all landmarks of all faces."""
    f1: float
    """Of the covered ones, over all landmarks of all faces, at a probability of 0.5."""
    point_auc: Array
    """float64 (264,): the same for every landmark over the faces."""
    point_f1: Array
    """float64 (264,)."""
    covered: float
    """Share of the known landmarks that are covered."""
    false_alarms: float
    """Share of the visible landmarks that are called covered."""
    alarms_at_found: float
    """The same where so many are called covered that :data:`FOUND` of the covered ones are among them; NaN without both
    kinds."""


def visibility_figures(visibility: NDArray[np.float32], covered: NDArray[np.float32]) -> VisibilityFigures:
    """Compares probabilities of being visible with what is covered: both float32 (N, 264); NaN where unknown."""
    known = ~np.isnan(covered)
    hidden, score = covered[known] > 0, 1 - visibility[known]
    said = visibility < 1 - _THRESHOLD
    alarms = (said[known] & ~hidden).sum() / max(1, (~hidden).sum())
    columns = [
        (covered[known[:, i], i] > 0, 1 - visibility[known[:, i], i], said[known[:, i], i])
        for i in range(covered.shape[1])
    ]
    return VisibilityFigures(
        roc_auc(hidden, score),
        f1(hidden, said[known]),
        np.array([roc_auc(truth, scores) for truth, scores, _ in columns]),
        np.array([f1(truth, guess) for truth, _, guess in columns]),
        float(hidden.mean()),
        float(alarms),
        alarms_at(hidden, score),
    )


def alarms_at(positive: NDArray[np.bool_], score: NDArray[np.floating], found: float = FOUND) -> float:
    """Share of the negatives that score as high as the least of the best ``found`` of the positives; NaN without both.

    Args:
        positive: bool (N,).
        score: float (N,).
        found: share of the positives that is to be found.
    """
    if positive.all() or not positive.any():
        return float("nan")
    limit = np.quantile(score[positive], 1 - found, method="lower")
    return float((score[~positive] >= limit).mean())


def roc_auc(positive: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Probability that a positive scores higher than a negative, ties counted half; NaN without both."""
    count = int(positive.sum())
    others = positive.size - count
    if not count or not others:
        return float("nan")
    _, place, ties = np.unique(score, return_inverse=True, return_counts=True)
    ranks = np.cumsum(ties) - (ties - 1) / 2
    return float((ranks[place][positive].sum() - count * (count + 1) / 2) / (count * others))


def f1(positive: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """F1 of the positives; NaN without any."""
    if not positive.any():
        return float("nan")
    return float(2 * (positive & said).sum() / (positive.sum() + said.sum()))


@dataclass(frozen=True)
class CropPredictions:
    """Everything that a network says of a data set, with the truth."""

    images: NDArray[np.uint8]
    """uint8 (N, 112, 112, 3)."""
    points: Points
    """float32 (N, 264, 2) in pixels of the crop."""
    truth: Points
    visibility: NDArray[np.float32]
    """float32 (N, 264)."""
    covered: NDArray[np.float32]


def predict_crops(network: nn.Module, data: LomData) -> CropPredictions:
    """Asks a network about every crop of a data set without augmentation."""
    step, columns = LomStep(), []
    for batch in DataLoader(data, _BATCH, collate_fn=collate):
        said = step.predict(network, batch.images)
        columns.append(
            (batch.images.numpy(), said.points, batch.points.numpy(), said.visibility, batch.covered.numpy())
        )
    return CropPredictions(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def validate_landmarks(network: nn.Module, data: LomData, sheet: Path) -> dict[str, float]:
    """The mean error of the landmarks, whose negative is the score. Draws a contact sheet."""
    predictions = predict_crops(network, data)
    draw_faces(predictions, sheet)
    nme = float(point_errors("val", predictions.points, predictions.truth, EYE_CORNERS).interocular.mean())
    return {"score": -nme, "nme": nme}


def validate_visibility(network: nn.Module, data: LomData, sheet: Path) -> dict[str, float]:
    """How well covered landmarks are told; the AUC is the score. Draws a contact sheet."""
    predictions = predict_crops(network, data)
    draw_faces(predictions, sheet)
    figures = visibility_figures(predictions.visibility, predictions.covered)
    return {"score": figures.auc, "auc": figures.auc, "f1": figures.f1}


def draw_faces(predictions: CropPredictions, path: Path) -> None:
    """Writes some of the faces with their landmarks, green where they are visible and red where they are covered."""
    columns = zip(predictions.images, predictions.points, predictions.visibility, strict=True)
    contact_sheet([draw_landmarks(*face) for face in some(list(columns), _SHOWN)], path, _PER_ROW)
