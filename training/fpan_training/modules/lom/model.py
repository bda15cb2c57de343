"""LOM's network: PFLD (Guo et al. 2019) with 264 landmarks, a logit of visibility for each, and its pose branch."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from fpan_training.landmarks.scheme import POINTS
from fpan_training.modules.checkpoint import read

INPUT_SIZE = 112
"""Side of the square crop in pixels (PFLD, table 1)."""
_STEM = 64
_STAGES = ((64, 2, 2, 1), (64, 2, 1, 4), (128, 2, 2, 1), (128, 4, 1, 6), (16, 2, 1, 1))
"""Inverted residuals: channels, expansion t, stride of the first, how many (PFLD, table 1)."""
_POSE_TAP = 5
"""Blocks before the pose branch, which sees the features of 28 x 28."""
_HEAD = (16, 32, 128)
"""Channels of the multi-scale head's maps of 14 x 14, 7 x 7 and 1 x 1 (PFLD, table 1)."""
_LAST_MAP = 7
"""Side of the map that the last convolution covers whole."""
_POSE_CHANNELS, _POSE_HIDDEN = (128, 128, 32, 128), 32
"""Of the auxiliary branch (PFLD, table 2)."""
_ANGLES = 3


@dataclass(frozen=True)
class LomConfig:
    """How wide the network is, and what crop it looks at."""

    width: float = 1.0
    """Factor on the channels of trunk and pose branch: 1 is PFLD 1X of the paper, 0.25 its PFLD 0.25X."""
    margin: float = 0.1
    """Of the crop about the face's 264 landmarks, as :func:`fpan_training.landmarks.face_crop` takes it."""


class LomOutput(NamedTuple):
    """What the network says of a batch."""

    points: Tensor
    """float (B, 264, 2): x and y as shares of the crop's side, 0 and 1 at its edges."""
    visibility: Tensor
    """float (B, 264): logit that the landmark is visible, not covered by something."""
    angles: Tensor | None
    """float (B, 3): yaw, pitch and roll in radians, in training mode only."""


class _ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool = False) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias), nn.BatchNorm2d(outputs), nn.ReLU()
        )


class _InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 (MobileNetV2, with plain ReLU as PFLD has it)."""

    def __init__(self, inputs: int, outputs: int, expand: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.body(x))
        return x + y if self.residual else y


class Lom(nn.Module):
    """Face crops to landmarks and their visibility: 1,370,296 parameters, 387 MMAC, without the pose branch."""

    def __init__(self, config: LomConfig) -> None:
        super().__init__()
        self.config = config
        stem = _scaled(_STEM, config.width)
        self.stem = nn.Sequential(_ConvNorm(3, stem, 3, 2, 1), _ConvNorm(stem, stem, 3, 1, 1))
        blocks: list[nn.Module] = []
        inputs = stem
        for channels, expand, stride, count in _STAGES:
            outputs = _scaled(channels, config.width)
            for _ in range(count):
                blocks.append(_InvertedResidual(inputs, outputs, expand, stride))
                inputs = outputs
        self.before_pose, self.after_pose = nn.Sequential(*blocks[:_POSE_TAP]), nn.Sequential(*blocks[_POSE_TAP:])
        middle, last = (_scaled(channels, config.width) for channels in _HEAD[1:])
        self.halve = _ConvNorm(inputs, middle, 3, 2, 1)
        self.whole = _ConvNorm(middle, last, _LAST_MAP, 1, 0, bias=True)
        features = inputs + middle + last
        self.landmarks = nn.Linear(features, 2 * POINTS)
        self.visibility = nn.Linear(features, POINTS)
        self.pose = _PoseBranch(stem, config.width)
        self._frozen = False

    def forward(self, images_bchw: Tensor) -> LomOutput:
        """Landmarks of crops, float (B, 3, 112, 112), normalised by ImageNet's mean and deviation."""
        early = self.before_pose(self.stem(images_bchw))
        wide = self.after_pose(early)
        narrow = self.halve(wide)
        features = torch.cat([wide.mean((2, 3)), narrow.mean((2, 3)), self.whole(narrow).flatten(1)], 1)
        points = _precise(self.landmarks, features).reshape(-1, POINTS, 2)
        angles = self.pose(early) if self.training and not self._frozen else None
        return LomOutput(points, _precise(self.visibility, features), angles)

    def freeze_landmarks(self) -> None:
        """From here on only the visibility learns: weights and running statistics of all else stay as they are."""
        self._frozen = True
        self.requires_grad_(False)
        self.visibility.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Lom":
        """See :meth:`torch.nn.Module.train`; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self._frozen:
            for child in self.children():
                child.eval()
        return self


class _PoseBranch(nn.Module):
    """The auxiliary branch, used in training only: what is learnt for the pose helps the landmarks."""

    def __init__(self, inputs: int, width: float) -> None:
        super().__init__()
        first, second, third, last = (_scaled(channels, width) for channels in _POSE_CHANNELS)
        self.body = nn.Sequential(
            _ConvNorm(inputs, first, 3, 2, 1),
            _ConvNorm(first, second, 3, 1, 1),
            _ConvNorm(second, third, 3, 2, 1),
            _ConvNorm(third, last, _LAST_MAP, 1, 0),
            nn.Flatten(),
            nn.Linear(last, _POSE_HIDDEN),
            nn.ReLU(),
        )
        self.angles = nn.Linear(_POSE_HIDDEN, _ANGLES)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, 28, 28) to yaw, pitch and roll in radians (B, 3)."""
        return _precise(self.angles, self.body(features))


def deployed_parameters(network: Lom) -> int:
    """Parameters without the pose branch, which serves training only."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.startswith("pose."))


def load(path: Path) -> Lom:
    """The network of a checkpoint that ``fpan-train train lom`` made, in evaluation mode.

    Raises:
        DataError: the checkpoint is another module's.
    """
    stored = read(path, "lom")
    network = Lom(LomConfig(**stored["lom"]))
    network.load_state_dict(stored["network"])
    return network.eval()


def _precise(layer: nn.Module, features: Tensor) -> Tensor:
    """The layer in float32 whatever autocast is on: a coordinate in bfloat16 has steps of half a pixel."""
    with torch.autocast(features.device.type, enabled=False):
        return cast(Tensor, layer(features.float()))


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)
