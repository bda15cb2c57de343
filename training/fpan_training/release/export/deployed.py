"""The served graph: bytes in, labels and confidence out, everything between inside.

The head is written so that the runtimes compute it fast: ``softmax``, ``amax`` and ``argmax`` over 20 maps of full size
took longer than the network in int8 (OpenVINO lays the maps out anew for each), the largest logit with its index and
one sum of exponentials take a tenth of it and give the same bytes (docs/results/precision.md).
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.nets.interface import SegmNetwork


class Deployed(nn.Module):
    """Normalisation, network, temperature, upsampling, the best class and its probability."""

    def __init__(self, network: nn.Module, temperature: float = 1.0) -> None:
        """Takes the network.

        Args:
            network: fulfils :class:`~fpan_training.nets.interface.SegmNetwork`.
            temperature: the logits are divided by it (Guo et al. 2017), which changes no label.
        """
        super().__init__()
        self.normalise = Normalise()
        self.network = network.eval()
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parses crops.

        Args:
            images: RGB, uint8 (B, H, W, 3).

        Returns:
            ``labels``, uint8 (B, H, W); ``confidence``, the largest probability of each pixel, uint8 (B, H, W) with
            255 for certainty; ``logits``, float (B, classes, H / stride, W / stride).
        """
        logits = cast(SegmNetwork, self.network)(self.normalise(images)).logits.float()
        if self.temperature != 1:
            logits = logits * (1 / self.temperature)
        full = F.interpolate(logits, size=images.shape[1:3], mode="bilinear", align_corners=False)
        top, ids = full.topk(1, dim=1)
        best = 1 / (full - top).exp().sum(1)
        # TensorRT casts to uint8 from floats only, so the ids go by way of float.
        labels = ids[:, 0].to(torch.float32).to(torch.uint8)
        return labels, (best * 255 + 0.5).to(torch.uint8), logits
