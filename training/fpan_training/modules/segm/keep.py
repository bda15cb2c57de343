"""What a network that trains on few pictures keeps of the one it started from.

Labels leave things open: a pixel that says "rest", "skin or nose" or nothing at all is right for several classes. There
the network is asked to divide the probability between them as the start does (distillation, Hinton et al. 2015, under
the condition that one of the group is there). Where the label names one class, it alone counts.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fpan_training.engine.processes import mean_over_all
from fpan_training.modules.segm.loss import PartialLabels

_IMPOSSIBLE = -1e4
"""Logit of what the label rules out. Its probability is 0 in float32, without the NaN that 0 * infinity would be."""


@dataclass(frozen=True)
class DistillConfig:
    """How much of the checkpoint that a run starts from is kept; needs ``start_from``."""

    weight: float = 0.0
    """Of the distance from what the start says where labels leave classes open, beside the cross-entropy; 0: none."""
    norms: bool = False
    """Batch norms go on with the start's statistics: those of a few pictures are poor."""


class Distiller:
    """A copy of the network as it was at the start."""

    def __init__(self, start: nn.Module, config: DistillConfig) -> None:
        self.start = deepcopy(start).eval().requires_grad_(False)
        self.config = config

    def hold(self, network: nn.Module) -> None:
        """Holds what is not to change; called before every batch, since training mode is set for all layers at once."""
        if self.config.norms:
            for layer in network.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()

    def loss(self, logits_bchw: Tensor, x_bchw: Tensor, labels_bhw: Tensor, partial: PartialLabels) -> Tensor:
        """Mean over all pixels of the divergence from the start within each pixel's group; 0 where that is one class.

        Args:
            logits_bchw: of the network, float (B, C, H / s, W / s) at its stride s.
            x_bchw: its input, float (B, 3, H, W).
            labels_bhw: codes of the label spaces, uint8 (B, H, W).
            partial: what they tell apart.
        """
        with torch.no_grad():
            start = self.start.to(x_bchw.device)(x_bchw).logits.float()
        step = labels_bhw.shape[-1] // logits_bchw.shape[-1]
        # Labels are thinned instead of logits enlarged, as for auxiliary heads.
        codes = labels_bhw[:, step // 2 :: step, step // 2 :: step].long()
        spaces = partial.spaces.to(codes.device)[:, None, None].long()
        possible = partial.groups.possible.to(codes.device)[spaces, codes].permute(0, 3, 1, 2)
        said = F.log_softmax(logits_bchw.float().masked_fill(~possible, _IMPOSSIBLE), 1)
        kept = F.log_softmax(start.masked_fill(~possible, _IMPOSSIBLE), 1)
        divergence = F.kl_div(said, kept, reduction="none", log_target=True).sum((0, 1))
        pixels = torch.tensor(float(codes.numel()), device=codes.device)
        return mean_over_all(divergence.sum(), pixels)
