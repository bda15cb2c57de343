"""LOM's training step in its two stages, and its predictions, as the shared loop and everybody else call them."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.modules.lom.loss import LomLossConfig, landmark_loss, visibility_loss
from fpan_training.modules.lom.model import LomOutput
from fpan_training.modules.segm.preprocess import Normalise

Stage = Literal["landmarks", "visibility"]
"""Stage 1 learns landmarks (and, if ``LomLossConfig.joint`` says so, hears of visibility); stage 2 visibility alone."""


class LomBatch(NamedTuple):
    """Faces and what is known of them."""

    images: Tensor
    """uint8 (B, 112, 112, 3), RGB."""
    points: Tensor
    """float32 (B, 264, 2) in pixels of the crop."""
    angles: Tensor
    """float32 (B, 3): yaw, pitch, roll in degrees."""
    flags: Tensor
    """bool (B, C): classes that the face belongs to (:data:`fpan_training.modules.lom.data.CLASSES`)."""
    covered: Tensor
    """float32 (B, 264): 1 where something covers the landmark, 0 where not, NaN where unknown."""


class LandmarkPredictions(NamedTuple):
    """What the network says of a batch of crops."""

    points: NDArray[np.float32]
    """float32 (B, 264, 2) in pixels of the crop."""
    visibility: NDArray[np.float32]
    """float32 (B, 264): probability that the landmark is visible."""


@dataclass
class LomStep:
    """One batch forward with its loss; and one batch predicted."""

    stage: Stage = "landmarks"
    loss: LomLossConfig = field(default_factory=LomLossConfig)
    rarity: Tensor | None = None
    """float (C,): what each class of faces counts; None: all faces alike. Of stage 1."""
    normalise: Normalise = field(default_factory=Normalise)

    def train(self, network: nn.Module, batch: LomBatch) -> dict[str, Tensor]:
        """The losses of a batch."""
        output = self._forward(network, batch.images)
        if self.stage == "visibility":
            return {"loss": visibility_loss(output.visibility, batch.covered, self.loss)}
        side = batch.images.shape[1]
        truth = (batch.points + 0.5) / side
        weight = output.points.new_zeros(len(truth))
        if self.rarity is not None:
            weight = batch.flags.float() @ self.rarity.to(truth.device)
        assert output.angles is not None, "stage 1 trains a network in training mode"
        marks = landmark_loss(output.points, truth, output.angles, batch.angles.deg2rad(), weight, self.loss)
        losses = {
            "landmarks": marks,
            "pixels": (output.points - truth).detach().norm(dim=2).mean() * side,
        }
        if self.loss.joint:
            losses["visibility"] = visibility_loss(output.visibility, batch.covered, self.loss)
            return {"loss": marks + self.loss.joint * losses["visibility"], **losses}
        # The head takes part, with a weight of nothing, for the sake of several processes that await its gradient.
        return {"loss": marks + 0 * output.visibility.sum(), **losses}

    def predict(self, network: nn.Module, images_bhwc: Tensor) -> LandmarkPredictions:
        """What a network in evaluation mode says of crops, uint8 (B, 112, 112, 3)."""
        with torch.inference_mode():
            output = self._forward(network, images_bhwc)
        points = output.points.float() * images_bhwc.shape[1] - 0.5
        visibility = output.visibility.float().sigmoid()
        return LandmarkPredictions(points.cpu().numpy().astype(np.float32), visibility.cpu().numpy().astype(np.float32))

    def _forward(self, network: nn.Module, images_bhwc: Tensor) -> LomOutput:
        device = next(network.parameters()).device
        x = self.normalise.to(device)(images_bhwc.to(device))
        return cast(LomOutput, network(x.contiguous(memory_format=torch.channels_last)))
