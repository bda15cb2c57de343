"""From what DOM took away to a mask: a small convolutional network compares the picture with its recovered face.

Mask-FPAN's section III-E has "a mask that uses the occlusion-free face and the original face" without a formula. A
threshold on the difference would take every blurred strand of hair for an occlusion; what tells them apart is the mask
channel, the difference, and what either looks like in the pixels about.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH = 16
_DILATIONS = (1, 2, 4)


class Comparison(nn.Module):
    """Adds a correction to the mask channel's logits; it starts at none."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = [3 * channels + 1, *[_WIDTH] * (len(_DILATIONS) - 1)]
        self.body = nn.ModuleList(
            nn.Conv2d(width, _WIDTH, 3, padding=d, dilation=d) for width, d in zip(inputs, _DILATIONS, strict=True)
        )
        self.head = nn.Conv2d(_WIDTH, 1, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images_bchw: Tensor, faces_bchw: Tensor, mask_logits_b1hw: Tensor) -> Tensor:
        """Logits of being occluded, float (B, 1, H, W). No gradient flows back into the autoencoder: its loss is
        Eq. 1 alone, whatever the comparison makes of it.
        """
        faces, logits = faces_bchw.detach(), mask_logits_b1hw.detach()
        x = torch.cat([images_bchw, faces, (images_bchw - faces).abs(), torch.sigmoid(logits)], 1)
        for convolution in self.body:
            x = F.relu(convolution(x))
        return cast(Tensor, logits + self.head(x).float())
