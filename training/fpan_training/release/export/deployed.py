"""The served graph: bytes in, labels and confidence out, everything between inside."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.nets.interface import SegmNetwork


class Deployed(nn.Module):
    """Normalisation, network, upsampling, softmax and argmax."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.network = network.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parses crops.

        Args:
            images: RGB, uint8 (B, H, W, 3).

        Returns:
            ``labels``, uint8 (B, H, W); ``confidence``, the largest probability of each pixel, uint8 (B, H, W) with
            255 for certainty; ``logits``, float (B, classes, H / stride, W / stride).
        """
        logits = cast(SegmNetwork, self.network)(self.normalise(images)).logits.float()
        full = F.interpolate(logits, size=images.shape[1:3], mode="bilinear", align_corners=False)
        best = F.softmax(full, 1).amax(1)
        # TensorRT casts to uint8 from floats only, so the ids go by way of float.
        labels = full.argmax(1).to(torch.float32).to(torch.uint8)
        return labels, (best * 255 + 0.5).to(torch.uint8), logits
