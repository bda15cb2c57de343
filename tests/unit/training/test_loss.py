"""SEGM's loss against torch's own and against values known beforehand."""

import pytest
import torch
import torch.nn.functional as F
from fpan_training.modules.segm import SegmOutput
from fpan_training.modules.segm.loss import LossConfig, ce_and_dice, segm_loss, upsample_thinned
from torch import Tensor

_CLASSES = 5
_IGNORE = 255


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(2, _CLASSES, 8, 8, generator=torch.Generator().manual_seed(1)) * 3


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, _CLASSES, (2, 8, 8), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)


def _certain(labels: Tensor, classes: int = _CLASSES) -> Tensor:
    """Logits that put all probability on ``labels``."""
    return F.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float() * 100


def test_without_dice_it_is_torchs_cross_entropy(logits: Tensor, labels: Tensor) -> None:
    loss = segm_loss(SegmOutput(logits), labels, LossConfig(dice=0))["loss"]
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels.long()))


def test_its_gradient_is_that_of_torchs_cross_entropy(logits: Tensor, labels: Tensor) -> None:
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    segm_loss(SegmOutput(ours), labels, LossConfig(dice=0))["loss"].backward()
    F.cross_entropy(theirs, labels.long()).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("stride", [2, 4])
def test_thinned_logits_are_those_of_the_whole_picture(logits: Tensor, stride: int) -> None:
    size = (8 * stride, 8 * stride)
    whole = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    for phase in ((0, 0), (0, 1), (1, 0), (1, 1)):
        thinned = upsample_thinned(logits, size, phase)
        torch.testing.assert_close(thinned, whole[..., phase[0] :: 2, phase[1] :: 2])


def test_the_thinned_cross_entropy_is_the_whole_one_on_the_mean(logits: Tensor) -> None:
    labels = torch.randint(0, _CLASSES, (2, 16, 16), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    weights = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    config = LossConfig(dice=0, thin=2)
    each = {round(segm_loss(SegmOutput(logits), labels, config)["loss"].item(), 5) for _ in range(60)}
    assert len(each) == 4
    whole = segm_loss(SegmOutput(logits), labels, LossConfig(dice=0))["loss"].item()
    assert sum(each) / 4 == pytest.approx(whole, rel=1e-4)
    assert segm_loss(SegmOutput(logits), labels, config, weights_bhw=weights)["loss"].isfinite()


def test_ignored_pixels_count_for_nothing(logits: Tensor, labels: Tensor) -> None:
    labels[:, :, 4:] = _IGNORE
    whole = ce_and_dice(logits, labels, _IGNORE)
    half = ce_and_dice(logits[..., :4], labels[..., :4], _IGNORE)
    torch.testing.assert_close(whole, half)
    torch.testing.assert_close(whole[0], F.cross_entropy(logits, labels.long(), ignore_index=_IGNORE))
    elsewhere = logits.clone()
    elsewhere[..., 4:] += 50 * torch.randn(8, 4)
    torch.testing.assert_close(ce_and_dice(elsewhere, labels, _IGNORE), whole)


def test_a_batch_without_a_known_pixel_costs_nothing_and_pulls_nowhere(logits: Tensor) -> None:
    logits.requires_grad_()
    parts = segm_loss(
        SegmOutput(logits, (logits * 2,)), torch.full((2, 8, 8), _IGNORE, dtype=torch.uint8), LossConfig()
    )
    assert {name: value.item() for name, value in parts.items()} == {"loss": 0, "ce": 0, "dice": 0, "auxiliary": 0}
    parts["loss"].backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_is_zero_for_a_perfect_prediction_and_one_for_a_wholly_wrong_one(labels: Tensor) -> None:
    assert ce_and_dice(_certain(labels), labels, _IGNORE)[1].item() == pytest.approx(0, abs=1e-6)
    assert ce_and_dice(_certain((labels + 1) % _CLASSES), labels, _IGNORE)[1].item() == pytest.approx(1, abs=1e-6)


def test_dice_worked_out_by_hand() -> None:
    labels = torch.tensor([[[0, 0, 0, 1]]], dtype=torch.uint8)
    p = torch.tensor([0.9, 0.8, 0.7, 0.4])  # of class 0; class 1 has the rest
    logits = torch.stack([p, 1 - p]).log().reshape(1, 2, 1, 4)
    # class 0: overlap 2.4, true 3, predicted 2.8; class 1: overlap 0.6, true 1, predicted 1.2
    expected = 1 - (2 * 2.4 / (3 + 2.8) + 2 * 0.6 / (1 + 1.2)) / 2
    assert ce_and_dice(logits, labels, _IGNORE)[1].item() == pytest.approx(expected, abs=1e-6)


def test_only_classes_present_in_the_batch_count_for_dice() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[:, 2:] = 1
    few = ce_and_dice(_certain(labels, 2) / 50, labels, _IGNORE)[1]
    # Eighteen more classes that are neither true nor predicted change nothing.
    more = torch.cat([_certain(labels, 2) / 50, torch.full((1, 18, 4, 4), -1e4)], 1)
    torch.testing.assert_close(ce_and_dice(more, labels, _IGNORE)[1], few)


def test_dice_is_taken_over_the_batch_not_per_picture() -> None:
    labels = torch.zeros(2, 4, 4, dtype=torch.uint8)
    labels[0, 0, 0] = 1
    logits = _certain(labels) / 30
    merged = logits.permute(1, 0, 2, 3).reshape(1, _CLASSES, 8, 4)
    torch.testing.assert_close(
        ce_and_dice(logits, labels, _IGNORE)[1], ce_and_dice(merged, labels.reshape(1, 8, 4), _IGNORE)[1]
    )


def test_logits_of_any_stride_are_enlarged_to_the_labels() -> None:
    labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
    labels[:, :, 8:] = 1
    coarse = _certain(labels[:, ::4, ::4])
    sharp = segm_loss(SegmOutput(coarse), labels, LossConfig())
    assert sharp["dice"].item() < 0.05
    wrong = segm_loss(SegmOutput(coarse.flip(3)), labels, LossConfig())
    assert wrong["dice"].item() > 0.8


def test_the_auxiliary_head_adds_its_weighted_cross_entropy_at_its_own_stride(logits: Tensor) -> None:
    labels = torch.randint(0, _CLASSES, (2, 32, 32), dtype=torch.uint8)
    labels[0, :20] = _IGNORE
    thinned = labels[:, 2::4, 2::4].long()
    plain = segm_loss(SegmOutput(logits), labels, LossConfig())["loss"]
    both = segm_loss(SegmOutput(logits, (logits.flip(1),)), labels, LossConfig(auxiliary=0.3))
    expected = F.cross_entropy(logits.flip(1), thinned, ignore_index=_IGNORE)
    torch.testing.assert_close(both["auxiliary"], expected)
    torch.testing.assert_close(both["loss"], plain + 0.3 * expected)


def test_descending_the_gradient_finds_the_labels(logits: Tensor, labels: Tensor) -> None:
    x = torch.zeros_like(logits, requires_grad=True)
    optimizer = torch.optim.Adam([x], 0.5)
    for _ in range(30):
        optimizer.zero_grad()
        segm_loss(SegmOutput(x), labels, LossConfig())["loss"].backward()
        optimizer.step()
    assert torch.equal(x.argmax(1), labels.long())


def test_half_precision_logits_give_a_float32_loss(logits: Tensor, labels: Tensor) -> None:
    exact = segm_loss(SegmOutput(logits), labels, LossConfig())["loss"]
    rounded = segm_loss(SegmOutput(logits.bfloat16()), labels, LossConfig())["loss"]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)
