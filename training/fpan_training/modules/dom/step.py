"""DOM's training steps, as the shared loop calls them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.modules.dom.data import Triple
from fpan_training.modules.dom.loss import LossConfig, face_loss, joint_loss
from fpan_training.modules.dom.model import RlaConfig

_GREY = (0.299, 0.587, 0.114)
"""Of red, green and blue in grey (ITU-R BT.601)."""


@dataclass
class DomStep:
    """One batch forward, with its loss."""

    channels: int
    """Of the network: 3 or 1."""
    joint: bool
    """Stage 2 instead of stage 1."""
    loss: LossConfig = field(default_factory=LossConfig)

    def train(self, network: nn.Module, batch: Triple) -> dict[str, Tensor]:
        """The losses of a batch of :class:`~fpan_training.modules.dom.data.OcclusionData`."""
        occluded, clean, mask = self.inputs(batch)
        output, compared = network(occluded, detect=self.joint, every_step=self.joint)
        if not self.joint:
            return face_loss(output, clean)
        return joint_loss(output, compared, occluded, clean, mask, self.loss)

    def inputs(self, batch: Triple) -> Triple:
        """Bytes to what the network takes: two float (B, C, H, W) and the mask, float (B, 1, H, W), all in [0, 1]."""
        occluded, clean, mask = batch
        return to_input(occluded, self.channels), to_input(clean, self.channels), mask[:, None].float() / 255


def to_input(images_bhwc: Tensor, channels: int) -> Tensor:
    """RGB, uint8 (B, H, W, 3), to float (B, channels, H, W) in [0, 1]."""
    x = images_bhwc.permute(0, 3, 1, 2).float() / 255
    return x if channels == x.shape[1] else (x * x.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)


def mean_face(images: NDArray[np.uint8], config: RlaConfig) -> Tensor:
    """The mean of clean faces, uint8 (N, H, W, 3), as the network sees them: float (C, size, size) in [0, 1]."""
    mean = images.mean(0, dtype=np.float64)
    shrunk = mean.reshape(config.size, mean.shape[0] // config.size, config.size, -1, 3).mean((1, 3))
    return to_input(torch.from_numpy(shrunk)[None], config.channels)[0]
