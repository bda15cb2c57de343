"""The columns of the paper's tables: eyes, mouth, occlusion, overall."""

import numpy as np

from fpan_training.evaluate.confusion import Scores, mean_of_known
from fpan_training.taxonomy import TAXONOMY

PAPER_GROUPS: dict[str, tuple[str, ...]] = {
    "eyes": TAXONOMY.groups["eyes"],
    "mouth": TAXONOMY.groups["all_mouth"],
    "occlusion": ("occlusion",),
}
"""What each column counts, which the paper does not say. Eyes are both eyes, neither brows nor glasses; mouth is the
inner mouth and both lips."""
OVERALL = "overall"
"""The column of all classes, background included (IoU), or of all but the background (F1)."""


def group_ious(scores: Scores) -> dict[str, float]:
    """Mean IoU over the classes of each column; NaN where neither truth nor prediction has any of them."""
    return {**{name: _mean(scores.iou, group) for name, group in PAPER_GROUPS.items()}, OVERALL: scores.miou}


def group_f1s(scores: Scores) -> dict[str, float]:
    """Mean F1 over the classes of each column; NaN where neither truth nor prediction has any of them."""
    return {**{name: _mean(scores.f1, group) for name, group in PAPER_GROUPS.items()}, OVERALL: scores.mean_f1}


def _mean(values: np.ndarray, names: tuple[str, ...]) -> float:
    ids = [i for i in map(TAXONOMY.id_of, names) if i < len(values)]
    return mean_of_known(values[ids])
