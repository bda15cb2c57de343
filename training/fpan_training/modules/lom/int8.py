"""LOM in eight bits, and how far its answers are from those in float32."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader

from fpan_training.modules.lom.evaluate import CropPredictions
from fpan_training.release.export.onnx_file import INPUT, open_session
from fpan_training.release.quantise import with_pairs

_OPERATORS = ("Add", "Conv", "Relu")
"""Where the time goes. The layers that say the landmarks stay as they are: a step of a byte would be half a pixel."""
CALIBRATED_ON = 64
"""Crops that ranges are taken from."""


@dataclass(frozen=True)
class Parity:
    """Eight bits against float32, on the same crops."""

    pixels: float
    """Mean distance between their landmarks, in pixels of the crop."""
    visibility: float
    """Mean difference of their probabilities of being visible."""
    agreeing: float
    """Share of the landmarks that both call visible, or both covered."""


def quantise_lom(source: Path, target: Path, crops: NDArray[np.uint8]) -> None:
    """Writes an exported LOM in eight bits (QDQ), with ranges from crops, uint8 (N, 112, 112, 3)."""
    onnx.save(with_pairs(onnx.load(source), target, _Reader(crops), _OPERATORS), target)


def parity(source: Path, target: Path, said: CropPredictions) -> tuple[Parity, CropPredictions]:
    """Compares two files on crops; returns the second one's answers too."""
    (points, visibility), (small, seen) = (_run(path, said.images) for path in (source, target))
    return (
        Parity(
            float(np.linalg.norm(points - small, axis=2).mean()),
            float(np.abs(visibility - seen).mean()),
            float(((visibility < 0.5) == (seen < 0.5)).mean()),
        ),
        CropPredictions(said.images, small, said.truth, seen, said.covered),
    )


def _run(path: Path, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    session = open_session(path, 1)
    answers = [session.run(None, {INPUT: crops[i : i + 1]}) for i in range(len(crops))]
    points, visibility = (np.concatenate(column) for column in zip(*answers, strict=True))
    return points, visibility


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    """Gives crops one by one, as the network takes them."""

    def __init__(self, crops: NDArray[np.uint8]) -> None:
        self._left = iter(crops)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next one as a batch of its own; None after the last."""
        crop = next(self._left, None)
        return None if crop is None else {INPUT: crop[None]}
