"""Pictures for people: learning curves and contact sheets of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from fpan.contract import Taxonomy
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8]
T = TypeVar("T")
_ALPHA = 0.55


@dataclass(frozen=True)
class Curves:
    """What of a run's history is drawn."""

    losses: tuple[str, ...] = ("loss",)
    figures: Mapping[str, str] = field(default_factory=lambda: {"miou": "val mIoU", "mean_f1": "val mean F1"})
    """Figures of a validation, and what they are called; those that a run does not have are left out."""
    unit: str = ""
    """Of the figures."""
    logarithmic: bool = False
    """Whether the losses are."""


def curve(history: Sequence[dict[str, float]], path: Path, shown: Curves) -> None:
    """Draws losses and figures over the epochs; nothing before the first one."""
    if not history:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in shown.losses:
        left.plot([row["epoch"] for row in history], [row[name] for row in history], label=f"training {name}")
    left.set_yscale("log" if shown.logarithmic else "linear")
    for name, title in shown.figures.items():
        rows = [row for row in history if name in row]
        if rows:
            right.plot([row["epoch"] for row in rows], [row[name] for row in rows], marker=".", label=title)
    right.set_ylabel(shown.unit)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.savefig(path, dpi=110)


def overlay(image: Image, labels: NDArray[np.uint8], taxonomy: Taxonomy) -> Image:
    """The picture with its parts tinted, uint8 (H, W, 3)."""
    tinted = image * (1 - _ALPHA) + taxonomy.palette[labels] * _ALPHA
    shown = np.where((labels == taxonomy.background)[..., None], image, tinted)
    return np.asarray(shown, np.uint8)


def labelled(image: Image, *labels: NDArray[np.uint8], taxonomy: Taxonomy) -> Image:
    """A picture, and beside it the same tinted by each of some labels, uint8 (H, W, 3) and (H, W)."""
    return np.concatenate([image, *(overlay(image, each, taxonomy) for each in labels)], 1)


def to_bytes(picture_chw: Tensor) -> Image:
    """Float (3, H, W) in [0, 1] as RGB, uint8 (H, W, 3)."""
    return np.asarray((picture_chw.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def some(items: Sequence[T], count: int) -> Sequence[T]:
    """Up to ``count`` of the items, evenly chosen."""
    return items[:: max(1, len(items) // count)][:count]


def grid(pictures: Sequence[Image], per_row: int) -> Image:
    """Pictures of one size side by side, uint8 (H, W, 3) each; the last row is filled up with black."""
    filled = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % per_row)]
    rows = [np.concatenate(filled[i : i + per_row], 1) for i in range(0, len(filled), per_row)]
    return np.concatenate(rows)


def contact_sheet(pictures: Sequence[Image], path: Path, per_row: int = 2, zoom: int = 1) -> None:
    """Writes a grid of pictures of one size, RGB uint8 (H, W, 3) each, enlarged by a whole factor."""
    whole = grid(pictures, per_row)
    large = cv2.resize(whole, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) if zoom > 1 else whole
    cv2.imwrite(str(path), cv2.cvtColor(np.asarray(large, np.uint8), cv2.COLOR_RGB2BGR))
