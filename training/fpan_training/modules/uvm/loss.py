"""UVM's losses: of the generator (texture, labels, discriminators, identity) and of the discriminators."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fpan_training.engine.processes import mean_over_all
from fpan_training.modules.uvm.mirror import mirror
from fpan_training.modules.uvm.model import Judged


@dataclass(frozen=True)
class UvmLossConfig:
    """Weights of the parts. Colours run from 0 to 1, and every part is a mean over texels."""

    visible: float = 1.0
    """Of L1 on the texels that were shown (partial convolutions, Liu et al. 2018: 1)."""
    whole: float = 6.0
    """Of L1 on all texels (Liu et al. 2018: 6 on the holes)."""
    total_variation: float = 0.1
    """Of the differences between neighbours where something was filled in (Liu et al. 2018: 0.1)."""
    symmetry: float = 0.3
    """Of the difference from the own mirror image where something was filled in (TP-GAN, Huang et al. 2017: 0.3)."""
    adversarial: float = 0.06
    """Of the global discriminator: 1 to 100 of ``whole`` (pix2pix, Isola et al. 2017)."""
    adversarial_centre: float = 0.06
    """Of the discriminator of the face's centre."""
    identity: float = 3e-3
    """Of the distance of the identity features (TP-GAN, Huang et al. 2017: 3e-3), where the step has them."""
    guessed: float = 0.1
    """Of a texel that the source picture does not show itself, against one that it does. There the source's own filling
    stands in for the truth, since without any the back of the head would be arbitrary. This project's own."""
    labels: float = 0.5
    """Of the label head's cross-entropy. This project's own: about as large as the rest at the start."""


class UvTruth(NamedTuple):
    """What a completed batch is held against."""

    texture: Tensor
    """RGB, float (B, 3, H, W) in 0 to 1; filled where it is not known."""
    known: Tensor
    """1 where the texture is known, float (B, 1, H, W)."""
    visible: Tensor
    """1 where the generator was shown it, float (B, 1, H, W)."""
    labels: Tensor
    """Class ids, uint8 (B, H, W); filled where the texture is; 255 where there are none."""


def uvm_loss(
    judged: Judged, truth: UvTruth, config: UvmLossConfig, identity: Tensor | None, ignore: int = 255
) -> dict[str, Tensor]:
    """The parts of the loss; ``generator`` and ``discriminator`` are their weighted sums, ``loss`` the sum of both.

    Args:
        judged: the networks' answer.
        truth: what was asked for.
        config: weights of the parts.
        identity: distance of identity features, a scalar; None: that part is left out.
        ignore: the label of texels without a known class.
    """
    error = (judged.completed.texture.float() - truth.texture).abs()
    holes = 1 - truth.visible
    worth = truth.known + config.guessed * (1 - truth.known)
    parts = {
        "l1_visible": masked_mean(error, truth.visible),
        "l1_whole": masked_mean(error, worth),
        "total_variation": total_variation(judged.merged.float(), holes),
        "symmetry": symmetry(judged.merged.float(), holes),
        "adversarial": _squares(judged.fooled[0], 1),
        "adversarial_centre": _squares(judged.fooled[1], 1),
        "labels": label_loss(judged.completed.labels, truth.labels, worth, ignore),
    }
    generator = (
        config.visible * parts["l1_visible"]
        + config.whole * parts["l1_whole"]
        + config.total_variation * parts["total_variation"]
        + config.symmetry * parts["symmetry"]
        + config.adversarial * parts["adversarial"]
        + config.adversarial_centre * parts["adversarial_centre"]
        + config.labels * parts["labels"]
    )
    if identity is not None:
        parts["identity"] = identity
        generator = generator + config.identity * identity
    scores = zip(judged.real, judged.fake, strict=True)
    discriminator = torch.stack([(_squares(real, 1) + _squares(fake, 0)) / 2 for real, fake in scores]).sum()
    return {"loss": generator + discriminator, "generator": generator, "discriminator": discriminator, **parts}


def masked_mean(values_bchw: Tensor, mask_b1hw: Tensor) -> Tensor:
    """Mean of (B, C, H, W), weighted by (B, 1, H, W), over the maps of all processes; 0 where all weights are."""
    weight = mask_b1hw.expand_as(values_bchw)
    return mean_over_all((values_bchw * weight).sum(), weight.sum())


def total_variation(texture_bchw: Tensor, holes_b1hw: Tensor) -> Tensor:
    """Mean absolute difference of neighbours of which at least one was filled in."""
    across = (texture_bchw[..., 1:] - texture_bchw[..., :-1]).abs()
    down = (texture_bchw[..., 1:, :] - texture_bchw[..., :-1, :]).abs()
    at_across = torch.maximum(holes_b1hw[..., 1:], holes_b1hw[..., :-1])
    at_down = torch.maximum(holes_b1hw[..., 1:, :], holes_b1hw[..., :-1, :])
    return masked_mean(across, at_across) + masked_mean(down, at_down)


def symmetry(texture_bchw: Tensor, holes_b1hw: Tensor) -> Tensor:
    """Mean absolute difference of filled texels from their mirror images; 0 for a symmetric map."""
    return masked_mean((texture_bchw - mirror(texture_bchw)).abs(), holes_b1hw)


def label_loss(logits_bchw: Tensor, labels_bhw: Tensor, worth_b1hw: Tensor, ignore: int) -> Tensor:
    """Cross-entropy over the texels with a class, of all processes, weighted; 0 where there is none."""
    target = labels_bhw.long()
    weight = worth_b1hw[:, 0] * (target != ignore)
    each = F.cross_entropy(logits_bchw.float(), target, ignore_index=ignore, reduction="none")
    return mean_over_all((each * weight).sum(), weight.sum())


def _squares(scores: Tensor, target: float) -> Tensor:
    """Least squares (Mao et al., LSGAN, 2017): it does not saturate, and needs no balance of steps."""
    return (scores.float() - target).square().mean()
