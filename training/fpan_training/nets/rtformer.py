"""RTFormer-Slim (Wang et al. 2022, "RTFormer: Efficient Design for Real-Time Semantic Segmentation with Transformer").

Written from the paper and the figures of its released model, with which the parameter counts agree.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.nets.dappm import Dappm
from fpan_training.nets.interface import SegmOutput
from fpan_training.nets.rtformer_blocks import BasicBlock, DualBlock, GpuFriendlyAttention, Norm, Pair, PreConv

_LOW_STRIDE = 32
"""Input pixels for each pixel of the low branch."""
_MIN_TRAINING_BATCH = 2

Interpolation = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class RTFormerConfig:
    """Widths and switches. The defaults are the Slim model: 5.4 M parameters, 4.6 GMAC at 512 x 512."""

    width: int = 32
    """c: channels at 1/4. There are 2c at 1/8, 4c at 1/16 and 8c at 1/32."""
    head: int = 64
    """Hidden channels of the auxiliary head; the main head has twice as many."""
    context: int = 128
    """Channels of each branch of the pyramid pooling."""
    groups: int = 8
    """Groups of channels that the low branch's attention is normalised in, in the place of heads."""
    cross_size: int = 8
    """Side of the grid of keys that the high branch attends to. The input must be a multiple of 32 times it."""
    drop_path: float = 0.2
    """Share of the samples for which a residual branch of layers 4 and 5 is left out while training."""
    norm_momentum: float = 0.1
    """Weight of the newest batch in the running statistics, as PyTorch means it.

    The released model says 0.1 as Paddle means it, which is a weight of 0.9: running statistics of little more than
    the last batch. That is taken for a slip in porting DDRNet, and small batches could not bear it.
    """
    interpolation: Interpolation = "bilinear"
    """How coarse features are enlarged."""
    auxiliary: bool = True
    """Have a head on the features of 1/8 before the attention; it speaks in training mode only."""

    def __post_init__(self) -> None:
        if self.width % self.groups:
            raise ValueError(f"width {self.width} is no multiple of {self.groups} groups")


class RTFormer(nn.Module):
    """The network. Logits at stride 8."""

    stride = 8

    def __init__(self, classes: int, config: RTFormerConfig) -> None:
        super().__init__()
        c = config.width
        self.multiple = _LOW_STRIDE * config.cross_size
        norm: Norm = partial(nn.BatchNorm2d, momentum=config.norm_momentum)
        self.upsample = partial(_enlarge, interpolation=config.interpolation)
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, c, 3, 2, 1), norm(c), nn.ReLU()),
            *(nn.Conv2d(c, c, 3, 2, 1), norm(c), nn.ReLU()),
        )
        self.layer1 = _stage(norm, c, c, 1)
        self.layer2 = _stage(norm, c, 2 * c, 2)
        self.layer3 = _stage(norm, 2 * c, 4 * c, 2)
        self.compression = PreConv(norm, 4 * c, 2 * c)
        self.high3 = BasicBlock(norm, 2 * c, 2 * c, closing_relu=False)
        dual = partial(DualBlock, norm, self.upsample, 2 * c)
        self.layer4 = dual((4 * c, 8 * c), config.groups, config.cross_size, config.drop_path)
        self.layer5 = dual((8 * c, 8 * c), config.groups, config.cross_size, config.drop_path)
        self.context = Dappm(norm, self.upsample, 8 * c, config.context, 2 * c)
        self.head = _Head(norm, 4 * c, 2 * config.head, classes)
        self.auxiliary_head = _Head(norm, 2 * c, config.head, classes) if config.auxiliary else None
        self._initialise()

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        """Logits and, in training mode, auxiliary logits, both at stride 8.

        Raises:
            ValueError: a size that does not divide, or a batch of one picture in training mode.
        """
        self._check(images_bchw)
        x2 = self.layer2(F.relu(self.layer1(self.stem(images_bchw))))
        x3 = self.layer3(F.relu(x2))
        high = self.high3(F.relu(x2 + self.upsample(self.compression(x3), x2.shape[-2:])))
        pair = self.layer4(Pair(F.relu(high), F.relu(x3)))
        pair = self.layer5(Pair(F.relu(pair.high), F.relu(pair.low)))
        context = self.upsample(self.context(pair.low), pair.high.shape[-2:])
        logits = self.head(torch.cat([pair.high, context], 1))
        if self.training and self.auxiliary_head is not None:
            return SegmOutput(logits, (self.auxiliary_head(high),))
        return SegmOutput(logits)

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """None: the network starts from nothing."""
        return []

    def head_parameters(self) -> list[nn.Parameter]:
        """Those of the pyramid pooling and the heads, which the published recipe trains ten times faster."""
        parts = [self.context, self.head, *([self.auxiliary_head] if self.auxiliary_head is not None else [])]
        return [parameter for part in parts for parameter in part.parameters()]

    def _check(self, images_bchw: Tensor) -> None:
        batch, _, height, width = images_bchw.shape
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"RTFormer takes heights and widths that are multiples of {self.multiple} pixels (32 times the cross "
                f"size of {self.multiple // _LOW_STRIDE}), not {height} x {width}"
            )
        if self.training and batch < _MIN_TRAINING_BATCH:
            raise ValueError(
                "RTFormer trains on batches of two pictures or more: the global branch of its pyramid pooling has one "
                "value a picture and channel, which batch norm cannot normalise"
            )

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, GpuFriendlyAttention):
                module.reset_parameters()


class _Head(nn.Sequential):
    """Pre-activated 3x3 and the classifier."""

    def __init__(self, norm: Norm, inputs: int, hidden: int, classes: int) -> None:
        super().__init__(
            PreConv(norm, inputs, hidden, 3),
            norm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, classes, 1),
        )


def _stage(norm: Norm, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two blocks, the last without its closing ReLU."""
    return nn.Sequential(
        BasicBlock(norm, inputs, outputs, stride),
        BasicBlock(norm, outputs, outputs, closing_relu=False),
    )


def _enlarge(x: Tensor, size: torch.Size, interpolation: Interpolation) -> Tensor:
    return F.interpolate(x, size=size, mode=interpolation)
