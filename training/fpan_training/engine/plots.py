"""Pictures for people: learning curves and contact sheets of predictions."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import Taxonomy
from matplotlib.figure import Figure
from numpy.typing import NDArray

_ALPHA = 0.55
_PER_ROW = 2


def curve(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draws loss, mIoU and mean F1 over the epochs."""
    if not history:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([r["epoch"] for r in history], [r["loss"] for r in history], label="training loss")
    validated = [r for r in history if "score" in r]
    for name in ("miou", "mean_f1"):
        right.plot([r["epoch"] for r in validated], [r[name] for r in validated], marker=".", label=f"val {name}")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def overlay(image: NDArray[np.uint8], labels: NDArray[np.uint8], taxonomy: Taxonomy) -> NDArray[np.uint8]:
    """The picture with its parts tinted, uint8 (H, W, 3)."""
    tinted = image * (1 - _ALPHA) + taxonomy.palette[labels] * _ALPHA
    shown = np.where((labels == taxonomy.background)[..., None], image, tinted)
    return np.asarray(shown, np.uint8)


def contact_sheet(
    rows: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]], taxonomy: Taxonomy, path: Path
) -> None:
    """Draws triples of picture, truth and prediction, two triples a row."""
    triples = [
        np.concatenate([image, overlay(image, truth, taxonomy), overlay(image, guess, taxonomy)], 1)
        for image, truth, guess in rows
    ]
    while len(triples) % _PER_ROW:
        triples.append(np.zeros_like(triples[0]))
    lines = [np.concatenate(triples[i : i + _PER_ROW], 1) for i in range(0, len(triples), _PER_ROW)]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(lines), cv2.COLOR_RGB2BGR))
