"""Evaluation of anything that labels pictures: a network, an ONNX file, a running service."""

from collections.abc import Callable, Sequence

import numpy as np
from fpan.contract import Evaluation, Taxonomy
from numpy.typing import NDArray

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import FaceFolder
from fpan_training.engine.progress import track
from fpan_training.evaluate.confusion import Confusion
from fpan_training.evaluate.grouped import Grouping

Labeller = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""A picture, RGB uint8 (H, W, 3), to its label map, uint8 (H, W)."""


def evaluate(
    label: Labeller,
    folder: FaceFolder,
    name: str,
    size: int,
    classes: int,
    taxonomy: Taxonomy,
    grouping: Grouping | None = None,
) -> tuple[Evaluation, Confusion]:
    """Compares label maps with the truth at ``size`` pixels (0: at the masks' own size).

    Args:
        label: what is evaluated.
        folder: pictures with the truth.
        name: of the data and split, for the record.
        size: side in pixels at which both are compared.
        classes: how many of the taxonomy's classes the truth can tell apart.
        taxonomy: names of the classes.
        grouping: where the truth tells only groups of classes apart, which then count instead of classes.
    """
    names = [c.name for c in taxonomy.classes[:classes]] if grouping is None else grouping.names
    confusion = Confusion(len(names), taxonomy.ignore)
    shown = size
    for i in track(range(len(folder)), f"evaluating {name}"):
        sample = folder[i]
        side = size or sample.labels.shape[0]
        shown = side
        image, truth = resize_pair(sample.image, sample.labels, side)
        labels = label(image)
        if grouping is not None:
            truth = grouping.truth(truth)
            labels = grouping.predicted(labels, truth)
        confusion.add(truth, labels)
    return summary(confusion, name, shown, names), confusion


def summary(confusion: Confusion, name: str, size: int, names: Sequence[str]) -> Evaluation:
    """The figures of a confusion of classes of these names as they stand in a card."""
    scores, intervals = confusion.scores(), confusion.intervals()
    return Evaluation(
        data=name,
        pictures=len(confusion.matrices),
        size=size,
        miou=scores.miou,
        miou_interval=intervals["miou"],
        mean_f1=scores.mean_f1,
        mean_f1_interval=intervals["mean_f1"],
        iou={n: round(float(v), 5) for n, v in zip(names, scores.iou, strict=True) if not np.isnan(v)},
        f1={n: round(float(v), 5) for n, v in zip(names, scores.f1, strict=True) if not np.isnan(v)},
    )
