"""Which layers are left in float, and a temperature that is worth what is said of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fpan_training.nets.interface import SegmOutput
from fpan_training.release.gates.strata import open_set
from fpan_training.release.quantise import search
from fpan_training.release.temperature import fit_temperature
from fpan_training.taxonomy import CELEBA19_CLASSES
from torch import Tensor, nn

from tests.unit.training.conftest import SIDE, write_pair

COSTS = {"stem": 0.0, "deep": 0.001, "wide": 0.03, "last": 0.05, "odd": 0.002}


def agreement(left: Sequence[str]) -> float:
    return 1 - sum(cost for name, cost in COSTS.items() if name not in left)


@pytest.mark.parametrize(
    ("least", "most", "left"),
    [
        (0.9, 16, []),
        (0.94, 16, ["last"]),
        (0.99, 16, ["last", "wide"]),
        (1.0, 16, ["last", "wide", "odd", "deep"]),
        (1.0, 1, ["last"]),
    ],
)
def test_layers_that_hurt_most_are_left_in_float_and_no_more_than_needed(
    least: float, most: int, left: list[str]
) -> None:
    found, reached = search(list(COSTS), agreement, least, most)
    assert found == left
    assert reached == agreement(left)


class Guess(nn.Module):
    """Says the truth of a share of the columns, the opposite of the rest, and is as sure of all."""

    multiple = stride = 1

    def __init__(self, right: float, logit: float) -> None:
        super().__init__()
        self.right, self.logit = right, logit

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        says = torch.arange(SIDE) < self.right * SIDE
        logits = torch.full((1, 20, SIDE, SIDE), -50.0)
        logits[:, 1] = torch.where(says, self.logit, 0.0)
        logits[:, 0] = torch.where(says, 0.0, self.logit)
        return SegmOutput(logits)


@pytest.mark.parametrize(("logit", "expected"), [(8.0, 8 / np.log(3)), (np.log(3), 1.0)])
def test_a_temperature_makes_who_is_too_sure_as_often_right_as_he_says(
    tmp_path: Path, logit: float, expected: float
) -> None:
    """Three of four pixels are right: a probability of 0.75 is a logit of log 3."""
    for i in range(4):
        write_pair(tmp_path, str(i), np.zeros((SIDE, SIDE, 3), np.uint8), np.ones((SIDE, SIDE), np.uint8))
    found = fit_temperature(Guess(0.75, float(logit)), SIDE, open_set("ones", tmp_path, CELEBA19_CLASSES))
    if expected == 1:
        assert found.value == 1
    else:
        assert found.value == pytest.approx(4.0)  # the largest that is tried; 7.3 would be right
    assert found.after <= found.before
    assert found.pictures == 4
