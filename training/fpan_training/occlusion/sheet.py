"""Pictures of what was built: a contact sheet, and how much of the faces is covered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fpan_training.data.folder import read_labels, read_rgb
from fpan_training.engine.plots import contact_sheet, overlay
from fpan_training.occlusion.generator import KINDS
from fpan_training.taxonomy import TAXONOMY

_ROWS, _PER_ROW = 8, 3
_SIDE = 192
"""Of a picture on the sheet, in pixels."""
_SEEN, _HIDDEN = (80, 255, 80), (255, 60, 60)
_BINS = 24


def sheet(folder: Path, names: Sequence[str], path: Path) -> None:
    """Draws triples of picture, what is seen and what is there, evenly chosen from the names; landmarks, too."""
    count = _ROWS * _PER_ROW
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).astype(int))]
    tiles = [_triple(folder, name) for name in chosen]
    contact_sheet(tiles, path, _PER_ROW)


def _triple(folder: Path, name: str) -> NDArray[np.uint8]:
    image = read_rgb(folder / "images" / f"{name}.jpg")
    labels = [read_labels(folder / part / f"{name}.png") for part in ("masks", "amodal")]
    landmarks = folder / "landmarks" / f"{name}.json"
    if landmarks.is_file():
        content = json.loads(landmarks.read_text(encoding="utf-8"))
        for at, seen in zip(content["points"], content["visible"], strict=True):
            cv2.circle(image, (round(at[0]), round(at[1])), 1, _SEEN if seen else _HIDDEN, -1)
    parts = [image, *(overlay(image, values, TAXONOMY) for values in labels)]
    tiles = [cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for part in parts]
    return np.asarray(np.concatenate(tiles, 1), np.uint8)


def histogram(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws how much of the faces is covered, by kind, from the rows of the manifest."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    shares = [[100 * row["share"] for row in rows if row["kind"] == kind] for kind in KINDS]
    axes.hist(shares, bins=np.linspace(0, 100, _BINS + 1).tolist(), stacked=True, label=list(KINDS))
    axes.set_xlabel("share of the face that is covered, %")
    axes.set_ylabel("pictures")
    axes.legend()
    figure.savefig(path, dpi=110)
