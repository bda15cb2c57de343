"""Bytes to the network's input. The exported graph does the same, so that it takes the photo's own bytes."""

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """uint8 RGB (B, H, W, 3) to normalised float (B, 3, H, W)."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) / std, persistent=False)

    def forward(self, images_bhwc: Tensor) -> Tensor:
        """Cast before the transpose: TensorRT casts uint8 only at the graph's edge."""
        return images_bhwc.float().permute(0, 3, 1, 2) * self.scale + self.shift
