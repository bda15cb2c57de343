"""Temperature scaling: one number by which a network's logits are divided, so that it is as often right as it says.

Guo et al., "On Calibration of Modern Neural Networks" (2017). It changes no label.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from fpan.contract import GateResult
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.data.augment import resize_pair
from fpan_training.engine.progress import track
from fpan_training.evaluate.calibration import Calibration
from fpan_training.evaluate.test_set import TestSet
from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.nets.interface import SegmNetwork
from fpan_training.taxonomy import TAXONOMY

_TRIED = np.geomspace(0.5, 4, 85)
"""Temperatures of which the best is taken; neighbours differ by 2.5 %."""
_STEP = 4
"""Every fourth row and column of a picture is looked at: neighbours say the same."""


@dataclass(frozen=True)
class Temperature:
    """What was fitted, and what it is worth."""

    value: float
    """The temperature; 1 where fitting one on half of the pictures made the other half no better."""
    before: float
    """Expected calibration error without it."""
    after: float
    """With it: each half of the pictures measured with what was fitted on the other."""
    pictures: int

    def result(self, name: str) -> GateResult:
        """What the card says of it.

        Args:
            name: of the pictures.
        """
        evidence = (
            f"fitted on {self.pictures} pictures of {name}; expected calibration error {self.before:.4f} without, "
            f"{self.after:.4f} where each half is measured with the temperature of the other"
        )
        return GateResult(name="temperature", verdict="passed", figure=self.value, evidence=evidence)


@dataclass(frozen=True)
class _Seen:
    """What a network says of some pixels of a picture, and what is true."""

    logits: Tensor
    """Float (N, classes)."""
    possible: Tensor
    """Which classes the truth allows, bool (N, classes)."""

    def losses(self) -> NDArray[np.float64]:
        """Summed negative log-likelihood at each of the temperatures tried."""
        found = []
        for temperature in _TRIED:
            cooled = self.logits / temperature
            allowed = cooled.masked_fill(~self.possible, -torch.inf)
            found.append(float((cooled.logsumexp(1) - allowed.logsumexp(1)).double().sum()))
        return np.array(found)

    def count(self, into: Calibration, temperature: float) -> None:
        """Adds the pixels to the counts of a temperature."""
        best, labels = F.softmax(self.logits / temperature, 1).max(1)
        right = self.possible.gather(1, labels[:, None])[:, 0].numpy()
        into.add(np.ones_like(right, np.uint8), right.astype(np.uint8), best.numpy())


def fit_temperature(network: nn.Module, input_size: int, test: TestSet) -> Temperature:
    """The temperature at which the truth is likeliest, on all pictures; and what it is worth, both ways.

    Args:
        network: fulfils :class:`~fpan_training.nets.interface.SegmNetwork`.
        input_size: side of its input in pixels.
        test: two labelled pictures or more.
    """
    seen = [_look(network, input_size, test, i) for i in track(range(len(test.folder)), "fitting a temperature")]
    losses = np.stack([each.losses() for each in seen])
    halves = np.arange(len(seen)) % 2
    before, after = Calibration(), Calibration()
    for half in (0, 1):
        fitted = _best(losses[halves == half])
        for each in (seen[i] for i in np.flatnonzero(halves != half)):
            each.count(before, 1.0)
            each.count(after, fitted)
    better = after.error() < before.error()
    return Temperature(_best(losses) if better else 1.0, before.error(), after.error(), len(seen))


def _best(losses: NDArray[np.float64]) -> float:
    return float(_TRIED[np.argmin(losses.sum(0))])


def _look(network: nn.Module, input_size: int, test: TestSet, index: int) -> _Seen:
    sample = test.folder[index]
    image, truth = resize_pair(sample.image, sample.labels, input_size)
    with torch.inference_mode():
        logits = cast(SegmNetwork, network)(Normalise()(torch.from_numpy(image)[None])).logits.float()
        full = F.interpolate(logits, size=truth.shape, mode="bilinear", align_corners=False)
    thinned = full[0, :, ::_STEP, ::_STEP].flatten(1).T
    truth = truth[::_STEP, ::_STEP].ravel()
    classes = logits.shape[1]
    if test.grouping is None:
        table = np.eye(classes, dtype=bool)
    else:
        truth = test.grouping.truth(truth)
        table = np.zeros((len(test.grouping), classes), bool)
        for number, (_, members) in enumerate(test.grouping.space.declared):
            table[number, list(members)] = True
    known = truth != TAXONOMY.ignore
    return _Seen(thinned[torch.from_numpy(known)].contiguous(), torch.from_numpy(table[truth[known]]))
