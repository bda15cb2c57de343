"""PPM's network: EfficientNet-Lite0 and, on its pooled features, Hopenet's three heads or one of a 6-D rotation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.modules.checkpoint import read
from fpan_training.nets.efficientnet_lite import EfficientNetLite

AXES = ("yaw", "pitch", "roll")
"""In the order of all angles here; what they mean is said in :mod:`fpan_training.face3d.pose`."""
BINS = 66
"""Classes of a head (Hopenet, section 3.2)."""
BIN_DEG = 3.0
"""Width of a class in degrees (Hopenet)."""
LIMIT_DEG = BINS * BIN_DEG / 2
"""The classes cover +- 99 degrees (Hopenet)."""
_SIX = 6


@dataclass(frozen=True)
class PpmConfig:
    """Which head, and what crop it looks at."""

    head: Literal["bins", "sixd"] = "bins"
    """``bins``: Hopenet's three classifiers of 66 bins. ``sixd``: 6DRepNet's two columns of a rotation matrix."""
    input_size: int = 128
    """Side of the square crop in pixels, a multiple of 32."""
    margin: float = 0.3
    """Of the crop about the face's 68 points, as :func:`fpan_training.landmarks.face_crop` takes it."""
    pretrained: bool = True
    """Start the backbone from ImageNet."""
    dropout: float = 0.2
    """On the pooled features."""


class PoseOutput(NamedTuple):
    """What the network says of a batch; one of the two, by the head."""

    logits: Tensor | None
    """float (B, 3, 66): of the bins of yaw, pitch and roll."""
    rotation: Tensor | None
    """float (B, 3, 3): the rotation itself."""


class PoseNetwork(nn.Module):
    """Face crops to head poses: 3.4 M parameters, 0.13 GMAC at 128 x 128."""

    multiple = 32

    def __init__(self, config: PpmConfig) -> None:
        """Raises ValueError for an input size that is no multiple of 32."""
        super().__init__()
        if config.input_size % self.multiple:
            raise ValueError(f"PPM takes multiples of {self.multiple} pixels, not {config.input_size}")
        self.config = config
        self.encoder = EfficientNetLite()
        if config.pretrained:
            self.encoder.load_imagenet()
        self.dropout = nn.Dropout(config.dropout)
        outputs = dict.fromkeys(AXES, BINS) if config.head == "bins" else {"sixd": _SIX}
        self.heads = nn.ModuleDict({name: nn.Linear(self.encoder.channels[-1], size) for name, size in outputs.items()})

    def forward(self, images_bchw: Tensor) -> PoseOutput:
        """Poses of crops, float (B, 3, H, W), normalised by ImageNet's mean and deviation."""
        pooled = self.dropout(self.encoder(images_bchw)[-1].mean((2, 3)))
        outputs = [head(pooled).float() for head in self.heads.values()]
        if self.config.head == "bins":
            return PoseOutput(torch.stack(outputs, 1), None)
        return PoseOutput(None, rotation_from_6d(outputs[0]))

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """The backbone's, where it started from ImageNet."""
        return list(self.encoder.parameters()) if self.config.pretrained else []


def bin_centres(device: torch.device | None = None) -> Tensor:
    """Angles in the middle of the bins, float (66,), degrees. (Hopenet's code takes the lower edges.)"""
    return (torch.arange(BINS, device=device) + 0.5) * BIN_DEG - LIMIT_DEG


def bins_of(angles: Tensor) -> Tensor:
    """The bin of every angle in degrees, int64 of the same shape; what lies outside gets the nearest bin."""
    return ((angles + LIMIT_DEG) / BIN_DEG).floor().long().clamp(0, BINS - 1)


def expectation(logits: Tensor) -> Tensor:
    """Hopenet's soft angle: the mean of the bins' centres under their probabilities, (..., 66) to (...), degrees."""
    return logits.float().softmax(-1) @ bin_centres(logits.device)


def rotation_from_6d(six: Tensor) -> Tensor:
    """Rotation matrices of two unscaled, skew columns (Zhou et al. 2019): (B, 6) to (B, 3, 3) by Gram-Schmidt."""
    x = F.normalize(six[:, :3], dim=1)
    z = F.normalize(torch.linalg.cross(x, six[:, 3:]), dim=1)
    return torch.stack([x, torch.linalg.cross(z, x), z], 2)


def load(path: Path) -> PoseNetwork:
    """The network of a checkpoint that ``fpan-train train ppm`` made, in evaluation mode.

    Raises:
        DataError: the checkpoint is another module's.
    """
    stored = read(path, "ppm")
    # Weights come from the checkpoint, not from ImageNet.
    network = PoseNetwork(replace(PpmConfig(**stored["ppm"]), pretrained=False))
    network.load_state_dict(stored["network"])
    return network.eval()
