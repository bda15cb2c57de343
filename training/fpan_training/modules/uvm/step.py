"""UVM's training step, as the shared loop calls it, and what the network makes of single maps."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.modules.uvm.identity import Identity
from fpan_training.modules.uvm.loss import UvmLossConfig, UvTruth, uvm_loss
from fpan_training.modules.uvm.model import Completed, Judged, UvGan
from fpan_training.taxonomy import TAXONOMY

_LEVELS = 255.0


class UvBatch(NamedTuple):
    """Maps, and what of them is hidden."""

    texture: Tensor
    """RGB, uint8 (B, H, W, 3)."""
    known: Tensor
    """Where the texture is what the source picture shows and not filled: bool (B, H, W)."""
    visible: Tensor
    """What the generator is shown of it: bool (B, H, W)."""
    partial: Tensor
    """The texture with noise where nothing is visible: uint8 (B, H, W, 3)."""
    filled: Tensor
    """The texture completed by mirroring from what is visible: uint8 (B, H, W, 3)."""
    labels: Tensor
    """Class ids, uint8 (B, H, W); 255 where unknown."""


@dataclass
class UvmStep:
    """One batch through generator and discriminators, with all losses."""

    loss: UvmLossConfig = field(default_factory=UvmLossConfig)
    identity: Identity | None = None
    """Without it, the identity's part is left out."""

    def train(self, network: nn.Module, batch: UvBatch) -> dict[str, Tensor]:
        """The losses of a batch."""
        partial, visible = colours(batch.partial), mask(batch.visible)
        texture, known = colours(batch.texture), mask(batch.known)
        judged: Judged = network(partial, visible, colours(batch.filled), texture, known)
        distance = None
        if self.identity is not None:
            distance = self.identity(judged.merged.float(), texture)
        truth_of_batch = UvTruth(texture, known, visible, batch.labels)
        return uvm_loss(judged, truth_of_batch, self.loss, distance, TAXONOMY.ignore)


def complete_batch(network: UvGan, batch: UvBatch) -> tuple[Tensor, Completed]:
    """The completed maps of a batch, float (B, 3, H, W) in 0 to 1, with the visible texels as they were; and all that
    the generator says.
    """
    device = next(network.parameters()).device
    partial, visible = colours(batch.partial.to(device)), mask(batch.visible.to(device))
    with torch.inference_mode():
        completed = network.generator(partial, visible, colours(batch.filled.to(device)))
    return torch.where(visible > 0, partial, completed.texture.float().clamp(0, 1)), completed


def with_noise(texture: NDArray[np.uint8], visible: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The texture, uint8 (H, W, 3), with noise where it is not visible (UV-GAN, Deng et al. 2018)."""
    noise = rng.integers(0, 256, texture.shape, np.uint8)
    return np.where(visible[..., None], texture, noise)


def colours(images_bhwc: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in 0 to 1."""
    return (images_bhwc.permute(0, 3, 1, 2).float() / _LEVELS).contiguous(memory_format=torch.channels_last)


def mask(where_bhw: Tensor) -> Tensor:
    """One or zero by texel: bool (B, H, W) to float (B, 1, H, W)."""
    return where_bhw[:, None].float()


def hidden(batch: UvBatch) -> Tensor:
    """One where the truth is known and was not shown: float (B, 1, H, W)."""
    return mask(batch.known & ~batch.visible)
