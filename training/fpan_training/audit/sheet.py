"""Contact sheets of faults: picture, labels and box of the surest of each kind."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import Sample
from fpan_training.data.ignored import Fault
from fpan_training.engine.plots import overlay
from fpan_training.taxonomy import TAXONOMY

_TILE = 192
"""Of a picture on the sheet, in pixels."""
_PER_ROW = 5
_FRAME, _TEXT = (255, 0, 0), (255, 255, 0)


def sheet(faults: Sequence[Fault], read: Callable[[str], Sample], path: Path) -> None:
    """Draws pairs of picture and labels with the faults' boxes; their number in the list and the pictures' names.

    Args:
        faults: in order.
        read: a picture by its name.
        path: PNG to write.
    """
    tiles = [_pair(number, fault, read(fault.name)) for number, fault in enumerate(faults)]
    while len(tiles) % _PER_ROW:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.concatenate(tiles[i : i + _PER_ROW], 1) for i in range(0, len(tiles), _PER_ROW)]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


def _pair(number: int, fault: Fault, sample: Sample) -> NDArray[np.uint8]:
    image = cv2.resize(sample.image, (_TILE, _TILE), interpolation=cv2.INTER_AREA)
    labels = cv2.resize(sample.labels, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST_EXACT)
    pair = [np.array(image), overlay(np.asarray(image), np.asarray(labels), TAXONOMY).copy()]
    if fault.box is not None:
        left, top, right, bottom = (round(edge * (_TILE - 1)) for edge in fault.box)
        for tile in pair:
            cv2.rectangle(tile, (left, top), (right, bottom), _FRAME, 1)
    joined = np.concatenate(pair, 1)
    text = f"{number} {fault.name[:24]} {fault.score:g}"
    cv2.putText(joined, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT, 1, cv2.LINE_AA)
    return np.asarray(joined, np.uint8)
