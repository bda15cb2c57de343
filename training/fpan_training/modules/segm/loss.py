"""SEGM's loss: cross-entropy, weighted as Eq. 2 of Mask-FPAN, and soft Dice, both over the whole batch.

Under several processes the batch is that of all of them together: what is divided are sums over all processes. Under
partial labels the probability of a group of classes is the sum over them (:mod:`fpan_training.modules.segm.groups`).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fpan_training.engine.processes import all_sum, mean_over_all
from fpan_training.modules.segm.groups import Groups, dice_sums, group_log_probabilities
from fpan_training.nets.interface import SegmOutput


@dataclass(frozen=True)
class LossConfig:
    """Weights of the parts."""

    dice: float = 1.0
    """Of the soft Dice loss beside the cross-entropy; it keeps small parts from drowning."""
    auxiliary: float = 0.4
    """Of each auxiliary head's cross-entropy (RTFormer's recipe)."""
    class_weights: tuple[float, ...] = ()
    """Weight of each class's pixels in the cross-entropy, by id; empty: all alike. Raises what is rare and small."""
    soft: float = 0.5
    """Share of a teacher's soft labels in the cross-entropy, where it has any; the rest is the labels' own."""
    soft_least: float = 0.6
    """Least probability of the teacher's first class at pixels of which the labels say nothing."""
    thin: Literal[1, 2] = 1
    """2: of every 2 x 2 pixels one counts, another one in every batch: the same on the mean, at a quarter of the
    memory traffic, which on processors is a fifth of a step."""


class PartialLabels(NamedTuple):
    """What the labels of a batch tell apart."""

    groups: Groups
    """Of all label spaces of the run."""
    spaces: Tensor
    """Each picture's space, an index into ``groups.spaces``, int (B,)."""


def segm_loss(
    output: SegmOutput,
    labels_bhw: Tensor,
    config: LossConfig,
    ignore: int = 255,
    weights_bhw: Tensor | None = None,
    partial: PartialLabels | None = None,
    soft_bhw3: Tensor | None = None,
) -> dict[str, Tensor]:
    """The parts of the loss and their weighted sum, ``loss``.

    Args:
        output: the network's logits at any stride; they are upsampled to the labels.
        labels_bhw: uint8 (B, H, W); pixels of value ``ignore`` count for nothing.
        config: weights of the parts.
        ignore: the label of pixels without a known class.
        weights_bhw: w_i of Eq. 2, float (B, H, W), for every cross-entropy; None: 1. Dice is without them: it weighs
            classes, not pixels.
        partial: what the labels tell apart; None: every class of the network.
        soft_bhw3: what a teacher says, uint8 (B, H, W, 3), see :mod:`fpan_training.data.soft_labels`; None: nothing.
    """
    size = (labels_bhw.shape[-2], labels_bhw.shape[-1])
    logits = output.logits.float()
    if config.thin == 1:
        logits, step, (row, column) = F.interpolate(logits, size=size, mode="bilinear", align_corners=False), 1, (0, 0)
    else:
        step, (row, column) = 2, torch.randint(0, 2, (2,)).tolist()
        logits = upsample_thinned(logits, size, (row, column))
    counted = (..., slice(row, None, step), slice(column, None, step))
    weights = None if weights_bhw is None else weights_bhw[counted]
    cross_entropy, dice = ce_and_dice(logits, labels_bhw[counted], ignore, config.class_weights, weights, partial)
    parts = {"ce": cross_entropy, "dice": dice}
    total = cross_entropy + config.dice * dice
    if soft_bhw3 is not None:
        parts["soft"] = soft_cross_entropy(
            logits, soft_bhw3[:, counted[1], counted[2]], labels_bhw[counted], ignore, config.soft_least, partial
        )
        total = (1 - config.soft) * cross_entropy + config.dice * dice + config.soft * parts["soft"]
    if output.auxiliary:
        each = []
        for auxiliary in output.auxiliary:
            # At the auxiliary head's own stride: labels and weights are thinned instead of its logits enlarged.
            step = size[1] // auxiliary.shape[-1]
            thin = (slice(None), slice(step // 2, None, step), slice(step // 2, None, step))
            weights = None if weights_bhw is None else weights_bhw[thin]
            logp = F.log_softmax(auxiliary.float(), 1)
            found = _of_truth(logp, labels_bhw[thin], ignore, partial)
            each.append(_weighted_mean(-found, (labels_bhw[thin] != ignore).float(), weights))
        parts["auxiliary"] = torch.stack(each).sum()
        total = total + config.auxiliary * parts["auxiliary"]
    return {"loss": total, **parts}


def upsample_thinned(logits_bchw: Tensor, size: tuple[int, int], phase: tuple[int, int]) -> Tensor:
    """What bilinear upsampling to ``size`` (height, width) gives at every other pixel, from ``phase`` (row, column) on:
    float (B, C, H / 2, W / 2). At a stride of 2 the other pixels are never computed.
    """
    if (size[0], size[1]) != (2 * logits_bchw.shape[-2], 2 * logits_bchw.shape[-1]):
        upsampled = F.interpolate(logits_bchw, size=size, mode="bilinear", align_corners=False)
        return upsampled[..., phase[0] :: 2, phase[1] :: 2]
    for dim, late in zip((-2, -1), phase, strict=True):
        # An even pixel lies a quarter of a logit's width before its logit, an odd one a quarter behind it.
        length = logits_bchw.shape[dim]
        first, last = logits_bchw.narrow(dim, 0, 1), logits_bchw.narrow(dim, length - 1, 1)
        neighbours = (
            torch.cat([logits_bchw.narrow(dim, 1, length - 1), last], dim)
            if late
            else torch.cat([first, logits_bchw.narrow(dim, 0, length - 1)], dim)
        )
        logits_bchw = torch.lerp(logits_bchw, neighbours, 0.25)
    return logits_bchw


def ce_and_dice(
    logits_bchw: Tensor,
    labels_bhw: Tensor,
    ignore: int,
    class_weights: tuple[float, ...] = (),
    weights_bhw: Tensor | None = None,
    partial: PartialLabels | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy, weighted mean over valid pixels, and 1 - soft Dice, mean over the classes present in the batch.

    The labels' probabilities are gathered rather than compared with one-hot maps, which for 20 classes would cost
    several times the memory traffic.
    """
    logp = F.log_softmax(logits_bchw.float(), 1)
    found = _of_truth(logp, labels_bhw, ignore, partial)
    valid = labels_bhw != ignore
    index = _index(labels_bhw, ignore) if partial is None else partial.groups.index(labels_bhw, partial.spaces)
    weight = valid.float()
    if class_weights:
        of_groups = class_weights if partial is None else partial.groups.weights(class_weights)
        weight = weight * torch.tensor(of_groups, device=logp.device)[index]
    cross_entropy = _weighted_mean(-found, weight, weights_bhw)
    if partial is None:
        none = torch.zeros(logp.shape[1], device=logp.device)
        sums = (
            none.scatter_add(0, index.flatten(), (found.exp() * valid).flatten()),
            none.scatter_add(0, index.flatten(), valid.flatten().float()),
            torch.einsum("bchw,bhw->c", logp.exp(), valid.float()),
        )
    else:
        sums = dice_sums(logp, found, labels_bhw, partial.groups, partial.spaces)
    overlap, sizes, predicted = all_sum(torch.stack(sums)).unbind()
    dice = 2 * overlap / (sizes + predicted).clamp(min=1)
    present = sizes > 0
    # Not ``dice[present].mean()``, which is NaN for a batch without a valid pixel.
    return cross_entropy, ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def soft_cross_entropy(
    logits_bchw: Tensor,
    soft_bhw3: Tensor,
    labels_bhw: Tensor,
    ignore: int,
    least: float,
    partial: PartialLabels | None = None,
) -> Tensor:
    """Cross-entropy with what a teacher says, mean over the pixels that count (Hinton et al., 2015).

    Pixels count where the teacher knows something that the label allows: its first class is one of the label's group.
    Where the label says nothing at all, the teacher has to be sure.

    Args:
        logits_bchw: float (B, C, H, W).
        soft_bhw3: first class, second class, probability of the first in 255ths, uint8 (B, H, W, 3).
        labels_bhw: codes, uint8 (B, H, W).
        ignore: the code of pixels without a known class.
        least: probability of the first class from which on the teacher is believed there.
        partial: what the labels tell apart; None: every class of the network.
    """
    first, second = (soft_bhw3[..., i].long().clamp(max=logits_bchw.shape[1] - 1) for i in (0, 1))
    p_first = soft_bhw3[..., 2].float() / 255
    unknown = labels_bhw == ignore
    if partial is None:
        allowed = labels_bhw == first
    else:
        possible = partial.groups.possible.to(labels_bhw.device)
        allowed = possible[partial.spaces[:, None, None].long(), labels_bhw.long(), first]
    counts = torch.where(unknown, p_first >= least, allowed & (p_first > 0)).float()
    logp = F.log_softmax(logits_bchw.float(), 1)
    of_first, of_second = (logp.gather(1, index[:, None])[:, 0] for index in (first, second))
    each = -(p_first * of_first + (1 - p_first) * of_second)
    return mean_over_all((each * counts).sum(), counts.sum())


def _index(labels_bhw: Tensor, ignore: int) -> Tensor:
    return torch.where(labels_bhw != ignore, labels_bhw, 0).long()


def _of_truth(logp_bchw: Tensor, labels_bhw: Tensor, ignore: int, partial: PartialLabels | None) -> Tensor:
    """Log-probability of what the label says, float (B, H, W); it means nothing where the label is ignored."""
    if partial is not None:
        return group_log_probabilities(logp_bchw, labels_bhw, partial.groups, partial.spaces)
    return logp_bchw.gather(1, _index(labels_bhw, ignore)[:, None])[:, 0]


def _weighted_mean(ce_bhw: Tensor, weight_bhw: Tensor, weights_bhw: Tensor | None) -> Tensor:
    """L of Eq. 2: sum w_i CE_i / sum w_i over the batch of all processes; 0 where nothing weighs anything.

    Args:
        ce_bhw: cross-entropy of each pixel.
        weight_bhw: 0 where no class is known, else the weight of the pixel's class.
        weights_bhw: w_i; None: 1.
    """
    if weights_bhw is not None:
        weight_bhw = weight_bhw * weights_bhw
    return mean_over_all((ce_bhw * weight_bhw).sum(), weight_bhw.sum())
