"""The served graph's head: what it says is softmax and argmax of the enlarged logits, however it is computed."""

import pytest
import torch
import torch.nn.functional as F
from fpan_training.nets.interface import SegmOutput
from fpan_training.release.export.deployed import Deployed
from torch import Tensor, nn

SIDE, STRIDE, CLASSES = 32, 2, 20


class Said(nn.Module):
    """Logits that do not depend on the picture."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.logits = 6 * torch.randn(2, CLASSES, SIDE // STRIDE, SIDE // STRIDE, generator=generator)

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        return SegmOutput(self.logits)


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_labels_and_confidence_are_argmax_and_largest_probability(temperature: float) -> None:
    network = Said()
    images = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    labels, confidence, logits = Deployed(network, temperature)(images)
    assert torch.allclose(logits, network.logits / temperature)
    full = F.interpolate(logits, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    assert torch.equal(labels, full.argmax(1).to(torch.uint8))
    probability = F.softmax(full, 1).amax(1)
    assert ((confidence.float() - 255 * probability).abs() <= 0.5 + 1e-3).all()
    assert (labels.dtype, confidence.dtype) == (torch.uint8, torch.uint8)


def test_a_temperature_changes_no_label_and_lowers_what_is_too_sure() -> None:
    network, images = Said(), torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    labels, sure, _ = Deployed(network)(images)
    cooled, less, _ = Deployed(network, 2.0)(images)
    assert torch.equal(labels, cooled)
    assert less.float().mean() < sure.float().mean()
