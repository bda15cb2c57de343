"""SEGM's training step and validation, as the shared loop calls them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fpan.contract import Taxonomy
from numpy.typing import NDArray
from torch import Tensor, nn

from fpan_training.evaluate.confusion import Confusion
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.measure import Prediction
from fpan_training.modules.segm.groups import Groups
from fpan_training.modules.segm.keep import Distiller
from fpan_training.modules.segm.loss import LossConfig, PartialLabels, segm_loss
from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.nets.interface import SegmNetwork, SegmOutput


class SegmBatch(NamedTuple):
    """What SEGM trains on; a plain pair of the first two is one as well."""

    images: Tensor
    """uint8 (B, H, W, 3)."""
    labels: Tensor
    """uint8 (B, H, W)."""
    weights: Tensor | None = None
    """w_i of Eq. 2 of Mask-FPAN, float (B, H, W); None: every pixel weighs the same."""
    spaces: Tensor | None = None
    """Number of each picture's label space among the step's, int (B,); None: labels tell every class apart."""
    soft: Tensor | None = None
    """What a teacher says, uint8 (B, H, W, 3), see :mod:`fpan_training.data.soft_labels`; None: it is not asked."""


@dataclass
class SegmStep:
    """One batch forward, with its loss; and one batch predicted."""

    taxonomy: Taxonomy
    loss: LossConfig = field(default_factory=LossConfig)
    groups: Groups | None = None
    """Of the label spaces that it is trained on; None: labels tell every class apart."""
    normalise: Normalise = field(default_factory=Normalise)
    keeper: Distiller | None = None
    """What is kept of the network that the run started from; None: nothing."""

    def train(self, network: nn.Module, batch: tuple[Any, ...]) -> dict[str, Tensor]:
        """The losses of a :class:`SegmBatch`."""
        images, labels, weights, spaces, soft = SegmBatch(*batch)
        partial = None if self.groups is None or spaces is None else PartialLabels(self.groups, spaces)
        if self.keeper is not None:
            self.keeper.hold(network)
        x = self._input(network, images)
        output = cast(SegmNetwork, network)(x)
        losses = segm_loss(output, labels, self.loss, self.taxonomy.ignore, weights, partial, soft)
        if self.keeper is None or not self.keeper.config.weight or partial is None:
            return losses
        kept = self.keeper.loss(output.logits, x, labels, partial)
        return losses | {"loss": losses["loss"] + self.keeper.config.weight * kept, "kept": kept}

    def predict(self, network: nn.Module, images_bhwc: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Labels at the size of the pictures or at ``size`` (height, width), uint8 (B, H, W)."""
        logits = self._forward(network, images_bhwc).logits.float()
        shown = size or tuple(images_bhwc.shape[1:3])
        return F.interpolate(logits, size=shown, mode="bilinear", align_corners=False).argmax(1).to(torch.uint8)

    def label(self, network: nn.Module, image: NDArray[np.uint8], input_size: int) -> NDArray[np.uint8]:
        """Labels of one square picture of any size, uint8 (H, W, 3) -> (H, W), at the picture's size: it is shrunk to
        the network's input, and what the network says is enlarged.
        """
        height, width = image.shape[:2]
        images = torch.from_numpy(to_size(image, input_size))[None]
        with torch.inference_mode():
            return np.asarray(self.predict(network, images, (height, width))[0].numpy())

    def prediction(self, network: nn.Module, image: NDArray[np.uint8], input_size: int) -> Prediction:
        """As :meth:`label`, with the probability of each label, float (H, W)."""
        height, width = image.shape[:2]
        with torch.inference_mode():
            logits = self._forward(network, torch.from_numpy(to_size(image, input_size))[None]).logits.float()
            shown = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
            confidence, labels = shown.softmax(1)[0].max(0)
        return Prediction(labels.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy())

    def validate(
        self,
        network: nn.Module,
        batch: tuple[Tensor, Tensor],
        confusion: Confusion,
        grouping: Grouping | None = None,
    ) -> Tensor:
        """Adds a batch to the confusion matrices, one row a picture; returns the predicted labels, in main memory.

        With a ``grouping`` labels are values of its space, and what counts is which group each pixel is of.
        """
        predicted = self.predict(network, batch[0]).cpu()
        for truth, guess in zip(batch[1].cpu().numpy(), predicted.numpy(), strict=True):
            if grouping is None:
                confusion.add(truth, guess)
            else:
                groups = grouping.truth(truth)
                confusion.add(groups, grouping.predicted(guess, groups))
        return predicted

    def _forward(self, network: nn.Module, images_bhwc: Tensor) -> SegmOutput:
        return cast(SegmNetwork, network)(self._input(network, images_bhwc))

    def _input(self, network: nn.Module, images_bhwc: Tensor) -> Tensor:
        # Validation's pictures come from main memory, wherever the network is.
        device = next(network.parameters()).device
        x = cast(Tensor, self.normalise.to(device)(images_bhwc.to(device)))
        return x.contiguous(memory_format=torch.channels_last)


def to_size(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture of any size, uint8 (H, W, 3), as a network of ``size`` takes it, uint8 (size, size, 3)."""
    if image.shape[:2] == (size, size):
        return image
    how = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)
