"""PPM's training step and prediction, as the shared loop calls them."""

from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.face3d import pose
from fpan_training.modules.ppm.loss import PoseLossConfig, pose_loss
from fpan_training.modules.ppm.model import PoseOutput, expectation
from fpan_training.modules.segm.preprocess import Normalise


class PoseBatch(NamedTuple):
    """Crops and their true poses."""

    images: Tensor
    """uint8 (B, H, W, 3), RGB."""
    angles: Tensor
    """float32 (B, 3): yaw, pitch, roll in degrees."""
    rotation: Tensor
    """float32 (B, 3, 3): the same as matrices."""


@dataclass
class PoseStep:
    """One batch forward, with its loss; and one batch predicted."""

    loss: PoseLossConfig = field(default_factory=PoseLossConfig)
    normalise: Normalise = field(default_factory=Normalise)

    def train(self, network: nn.Module, batch: PoseBatch) -> dict[str, Tensor]:
        """The losses of a batch."""
        return pose_loss(self._forward(network, batch.images), batch.angles, batch.rotation, self.loss)

    def predict(self, network: nn.Module, images_bhwc: Tensor) -> NDArray[np.float64]:
        """Yaw, pitch and roll of crops, uint8 (B, H, W, 3), in degrees: float64 (B, 3)."""
        with torch.inference_mode():
            output = self._forward(network, images_bhwc)
        if output.rotation is not None:
            return pose.angles(output.rotation.cpu().numpy())
        assert output.logits is not None  # one of the two there is
        return np.asarray(expectation(output.logits).cpu().numpy(), np.float64)

    def _forward(self, network: nn.Module, images_bhwc: Tensor) -> PoseOutput:
        # Validation's pictures come from main memory, wherever the network is.
        device = next(network.parameters()).device
        x = self.normalise.to(device)(images_bhwc.to(device))
        return cast(PoseOutput, network(x.contiguous(memory_format=torch.channels_last)))
