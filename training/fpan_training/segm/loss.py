"""SEGM's loss: cross-entropy and soft Dice over the batch."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fpan_training.segm.interface import SegmOutput


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts."""

    dice: float = 1.0
    """Of the soft Dice loss beside the cross-entropy; it keeps small parts from drowning."""
    auxiliary: float = 0.4
    """Of the auxiliary head's cross-entropy (RTFormer's recipe)."""
    class_weights: tuple[float, ...] = ()
    """Weight of each class's pixels in the cross-entropy, by id; empty: all alike. Raises what is rare and small."""


def segm_loss(output: SegmOutput, labels_bhw: Tensor, config: LossConfig, ignore: int = 255) -> dict[str, Tensor]:
    """The parts of the loss and their weighted sum, ``loss``.

    Args:
        output: the network's logits at any stride; they are upsampled to the labels.
        labels_bhw: uint8 (B, H, W); pixels of value ``ignore`` count for nothing.
        config: weights of the parts.
        ignore: the label of pixels without a known class.
    """
    cross_entropy, dice = ce_and_dice(_upsample(output.logits, labels_bhw), labels_bhw, ignore, config.class_weights)
    parts = {"ce": cross_entropy, "dice": dice}
    total = cross_entropy + config.dice * dice
    if output.auxiliary is not None:
        # At the auxiliary head's own stride: its labels are thinned instead of its logits enlarged.
        step = labels_bhw.shape[-1] // output.auxiliary.shape[-1]
        thinned = labels_bhw[:, step // 2 :: step, step // 2 :: step]
        parts["auxiliary"] = _cross_entropy(output.auxiliary, thinned, ignore)
        total = total + config.auxiliary * parts["auxiliary"]
    return {"loss": total, **parts}


def ce_and_dice(
    logits_bchw: Tensor, labels_bhw: Tensor, ignore: int, class_weights: tuple[float, ...] = ()
) -> tuple[Tensor, Tensor]:
    """Cross-entropy, weighted mean over valid pixels, and 1 - soft Dice, mean over the classes present in the batch.

    The labels' probabilities are gathered rather than compared with one-hot maps, which for 20 classes would cost
    several times the memory traffic.
    """
    classes = logits_bchw.shape[1]
    logp = F.log_softmax(logits_bchw.float(), 1)
    target = labels_bhw.long()
    valid = target != ignore
    index = torch.where(valid, target, 0)
    logp_true = logp.gather(1, index[:, None])[:, 0]
    weight = valid.float()
    if class_weights:
        weight = weight * torch.tensor(class_weights, device=logp.device)[index]
    cross_entropy = -(logp_true * weight).sum() / weight.sum().clamp(min=1)
    p_true = logp_true.exp() * valid
    overlap = torch.zeros(classes, device=logp.device).scatter_add(0, index.flatten(), p_true.flatten())
    sizes = torch.zeros(classes, device=logp.device).scatter_add(0, index.flatten(), valid.flatten().float())
    predicted = torch.einsum("bchw,bhw->c", logp.exp(), valid.float())
    dice = 2 * overlap / (sizes + predicted).clamp(min=1)
    present = sizes > 0
    # Not ``dice[present].mean()``, which is NaN for a batch without a valid pixel.
    return cross_entropy, ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def _upsample(logits_bchw: Tensor, labels_bhw: Tensor) -> Tensor:
    size = labels_bhw.shape[-2:]
    return F.interpolate(logits_bchw.float(), size=size, mode="bilinear", align_corners=False)


def _cross_entropy(logits_bchw: Tensor, labels_bhw: Tensor, ignore: int) -> Tensor:
    # Its own mean would be NaN where no pixel is valid.
    target = labels_bhw.long()
    total = F.cross_entropy(logits_bchw.float(), target, ignore_index=ignore, reduction="sum")
    return total / (target != ignore).sum().clamp(min=1)
