"""LOM's losses: PFLD's weighted distances for the landmarks, cross-entropy for their visibility."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fpan_training.engine.processes import mean_over_all


@dataclass(frozen=True)
class LomLossConfig:
    """Weights of the losses."""

    linear_beyond: float | None = 0.01
    """Error of a coordinate, in shares of the crop's side, from which on it counts linearly. None: squared throughout,
    as PFLD has it; of few steps that makes less: an NME of 9.0 % against 8.2 % after 500 of 16 faces.
    """
    rarity_limit: float = 10.0
    """Most that a class of faces counts for its rarity; PFLD takes the reciprocal of its share as it is."""
    occluded_weight: float = 3.0
    """Of a covered landmark in the cross-entropy, against 1 of a visible one."""
    joint: float = 30.0
    """Weight of the visibility in stage 1, so that the frozen features of stage 2 know of it; 0: the paper's. After
    four epochs on 2,158 faces NME was 14.5 % with 3 and 13.1 % with 30, AUC of the visibility 0.669 and 0.672.
    """


def class_rarity(flags: Tensor, config: LomLossConfig) -> Tensor:
    """What each class of faces counts, float (C,): one over its share of the faces, as PFLD has it, to a limit.

    Args:
        flags: bool (N, C), the classes of every face of a data set.
        config: the limit. A class that no face has gets it.
    """
    return flags.float().mean(0).clamp(min=1 / config.rarity_limit).reciprocal()


def landmark_loss(
    points: Tensor, truth: Tensor, angles: Tensor, true_angles: Tensor, weight: Tensor, config: LomLossConfig
) -> Tensor:
    """Eq. 1 of PFLD: distances summed over the landmarks, weighted by class and by the error in pose.

    A face's weight is ``(1 + class) * (1 + sum_k (1 - cos dtheta_k))``. Public code drops both "1 +", whereby a face of
    no flagged class, or of which the pose is right, teaches nothing.

    Args:
        points: predicted, float (B, 264, 2), in shares of the crop's side.
        truth: the same of the truth.
        angles: predicted by the auxiliary branch, float (B, 3), radians.
        true_angles: the same of the truth.
        weight: float (B,), sum of the rarities of the classes that the face belongs to; 0 for none.
        config: how distances are measured.

    Returns:
        float (), the mean over the faces.
    """
    if config.linear_beyond is None:
        distance = (points - truth).square().sum((1, 2))
    else:
        distance = F.smooth_l1_loss(points, truth, reduction="none", beta=config.linear_beyond).sum((1, 2))
    turned = (1 - torch.cos(angles - true_angles)).sum(1)
    return ((1 + weight) * (1 + turned) * distance).mean()


def visibility_loss(logits: Tensor, covered: Tensor, config: LomLossConfig) -> Tensor:
    """Binary cross-entropy of the visibility, the rarer covered landmarks weighted up.

    Args:
        logits: of being visible, float (B, 264).
        covered: 1 where something covers the landmark, 0 where it is visible, NaN where nobody knows (outside of the
            picture), float (B, 264).
        config: the weight.

    Returns:
        float (), the mean over the known landmarks of all processes' faces; 0 where none is known.
    """
    known = ~covered.isnan()
    each = F.binary_cross_entropy_with_logits(
        -logits[known], covered[known], pos_weight=logits.new_tensor(config.occluded_weight), reduction="none"
    )
    return mean_over_all(each.sum(), known.sum())
