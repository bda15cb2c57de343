"""Row ``calibration``: whether a network that says 0.9 is right nine times in ten, as it is and with a temperature."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from fpan_training.data.folder import Sample
from fpan_training.evaluate.calibration import Calibration
from fpan_training.evaluate.quality.network import Network, parse, paste
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import Figure, RowResult
from fpan_training.evaluate.quality.row import Subject

_STEP = 8
"""The temperature is fitted on every eighth pixel of every eighth row: neighbours say the same."""
_BOUNDS = (-2.0, 2.0)
"""Of the temperature's logarithm."""


@dataclass(frozen=True)
class TemperatureScaling:
    """Expected calibration error over all pixels, background included, at the labels' own size.

    As it is, and with the logits divided by the one number that makes the truth likeliest on the other half of the
    pictures (Guo et al. 2017): every second picture against the rest, both ways; the figure is the mean of both.
    """

    name: ClassVar[str] = "calibration"
    definition: ClassVar[int] = 1
    pictures: PictureSet

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        network, ignore = subject.network, subject.network.taxonomy.ignore
        plain, scaled = Calibration(ignore), (Calibration(ignore), Calibration(ignore))
        halves: tuple[list[_Pixels], list[_Pixels]] = ([], [])
        for number, sample in enumerate(self.pictures.tracked(f"{self.name}, fitting")):
            halves[number % 2].append(_pixels(network, sample, ignore))
        temperatures = [fit_temperature(*map(np.concatenate, zip(*half, strict=True))) for half in halves]
        for number, sample in enumerate(self.pictures.tracked(self.name)):
            parsed, half = parse(network, sample.image), number % 2
            plain.add(sample.labels, *parsed.prediction())
            scaled[half].add(sample.labels, *parsed.prediction(temperatures[1 - half]))
        ways = [(each.error(), each.interval()) for each in scaled]
        figures = {
            "error": Figure.of(plain.error(), plain.interval()),
            "scaled": Figure.of(float(np.mean([error for error, _ in ways]))),
            "scaled/first half": Figure.of(*ways[0]),
            "scaled/second half": Figure.of(*ways[1]),
            "temperature/first half": Figure.of(temperatures[0]),
            "temperature/second half": Figure.of(temperatures[1]),
        }
        return self.pictures.result(self.definition, figures)


_Pixels = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Logits, float32 (N, classes), and true labels, int64 (N,)."""


def _pixels(network: Network, sample: Sample, ignore: int) -> _Pixels:
    parsed = parse(network, sample.image)
    pasted = paste(parsed.logits, network.input_size, parsed.crop.matrix, parsed.shape)
    at = slice(_STEP // 2, None, _STEP)
    truth = sample.labels[at, at]
    known = truth != ignore
    return pasted[:, at, at].numpy()[:, known].T.copy(), truth[known].astype(np.int64)


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature under which the truth is likeliest.

    Args:
        logits: float32 (N, classes).
        truth: int64 (N,).
    """
    x, y = torch.from_numpy(logits), torch.from_numpy(truth)

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(x / float(np.exp(log_temperature)), y))

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-3}).x))
