"""DOM's losses: the face alone in stage 1, the face behind the mask in stage 2 (Eq. 1 of Mask-FPAN)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fpan_training.modules.dom.model import RlaOutput, compose


@dataclass(frozen=True)
class LossConfig:
    """Weights of what stands beside Eq. 1 in stage 2. The paper has neither: 0 gives its loss."""

    last: float = 1.0
    """Of the last step's own error. Eq. 1 trains the best step only, yet the answer is the last: which step is best
    cannot be known without the truth."""
    mask: float = 0.1
    """Of the mask channel's cross-entropy with what the generator covered. With Eq. 1 alone the channel learns where
    the reconstruction is better than the picture, which is not everywhere that is covered."""


def face_loss(output: RlaOutput, clean_bchw: Tensor) -> dict[str, Tensor]:
    """Stage 1 (Zhao et al.): the mean squared error of the last step's face against the clean one."""
    return {"loss": F.mse_loss(output.faces[:, -1], clean_bchw)}


def joint_loss(
    output: RlaOutput,
    compared_b1hw: Tensor,
    occluded_bchw: Tensor,
    clean_bchw: Tensor,
    mask_b1hw: Tensor,
    config: LossConfig,
) -> dict[str, Tensor]:
    """Stage 2: Eq. 1 on the composed face, its minimum over j read as the best of the decoder's steps.

    Args:
        output: every step of both channels.
        compared_b1hw: the comparison's logits; its own cross-entropy trains nothing but the comparison.
        occluded_bchw: the input, float in [0, 1].
        clean_bchw: the truth.
        mask_b1hw: what is covered, float in [0, 1].
        config: weights.

    Raises:
        ValueError: the output has no occlusion channel.
    """
    if output.mask_logits is None:
        raise ValueError("stage 2 needs the occlusion channel")
    errors = step_errors(output.faces, output.mask_logits.sigmoid(), occluded_bchw, clean_bchw)
    parts = {
        "best": errors.min(1).values.mean(),
        "last": errors[:, -1].mean(),
        "mask": F.binary_cross_entropy_with_logits(output.mask_logits[:, -1], mask_b1hw),
        "compared": F.binary_cross_entropy_with_logits(compared_b1hw, mask_b1hw),
    }
    total = parts["best"] + config.last * parts["last"] + config.mask * parts["mask"] + parts["compared"]
    return {"loss": total, **parts}


def step_errors(faces: Tensor, masks: Tensor, occluded_bchw: Tensor, clean_bchw: Tensor) -> Tensor:
    """Mean squared errors of the composed faces by picture and step, float (B, T)."""
    composed = compose(occluded_bchw[:, None], faces, masks)
    return (composed - clean_bchw[:, None]).square().flatten(2).mean(2)
