"""How well SEGM labels validation pictures: mIoU and mean F1, as the loop asks after an epoch."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fpan_training.data import SegmentationData
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.mixture import MixedData
from fpan_training.engine.plots import contact_sheet, labelled, some
from fpan_training.evaluate import Confusion
from fpan_training.evaluate.grouped import Grouping
from fpan_training.modules.segm.step import SegmStep
from fpan_training.taxonomy import TAXONOMY

_SHOWN = 12
"""Pictures on a contact sheet."""


def validate(
    network: nn.Module,
    step: SegmStep,
    val: SegmentationData | MixedData,
    classes: int,
    sheet: Path | None,
    batch_size: int = 8,
) -> dict[str, float]:
    """Scores, mIoU and mean F1, on the validation pictures; their mean is the score. Draws a contact sheet.

    What counts are the first ``classes`` classes, or the groups of a data set whose masks merge classes.
    """
    space = val.parts[0].space if isinstance(val, MixedData) else LabelSpace.full()
    grouping = None if space.plain else Grouping(space.of_codes)
    names = [c.name for c in TAXONOMY.classes[:classes]] if grouping is None else grouping.names
    confusion = Confusion(len(names), TAXONOMY.ignore)
    rows = []
    with torch.inference_mode():
        for images, labels, *_ in DataLoader(cast(Dataset[tuple[Tensor, ...]], val), batch_size):
            predicted = step.validate(network, (images, labels), confusion, grouping)
            rows += list(zip(images.numpy(), labels.numpy(), predicted.numpy(), strict=True))
    if sheet is not None:
        contact_sheet([labelled(*row, taxonomy=space.coded) for row in some(rows, _SHOWN)], sheet)
    scores = confusion.scores()
    # Without the classes that no picture has: NaN is no JSON.
    known = [(name, float(f)) for name, f in zip(names, scores.f1, strict=True) if not np.isnan(f)]
    named = {f"f1/{name}": f for name, f in known}
    return {"score": (scores.miou + scores.mean_f1) / 2, "miou": scores.miou, "mean_f1": scores.mean_f1, **named}
