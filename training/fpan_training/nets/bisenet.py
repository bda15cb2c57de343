"""BiSeNet (Yu et al., ECCV 2018, "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation").

Written from the paper; widths and heads that it leaves open are those of the authors' released code.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.nets.efficientnet_lite import EfficientNetLite
from fpan_training.nets.interface import SegmOutput
from fpan_training.nets.rtformer_blocks import BasicBlock, Norm

_MIN_TRAINING_BATCH = 2
_SPATIAL = 64
"""Channels inside the spatial path."""


@dataclass(frozen=True)
class BiSeNetConfig:
    """Context path and widths. The defaults are the paper's larger model, with ResNet-18."""

    context: Literal["resnet18", "efficientnet_lite0"] = "resnet18"
    """``resnet18`` starts from nothing: its ImageNet weights were not to be had. ``efficientnet_lite0`` is a light
    context path, as the paper's Xception39 is one, with the same ImageNet weights that LiteFPN starts from."""
    pretrained: bool = True
    """Start ``efficientnet_lite0`` from ImageNet."""
    stem: int = 64
    """Channels of ResNet-18's first stage; the later ones have 2, 4 and 8 times as many."""
    width: int = 128
    """Channels of both paths where they meet."""
    head: int = 64
    """Hidden channels of the head."""
    auxiliary_head: int = 256
    """Hidden channels of each of the two auxiliary heads. The paper adds their losses with a weight of 1
    (``LossConfig.auxiliary``)."""


class BiSeNet(nn.Module):
    """The network. Logits at stride 8; in training mode also those of two heads on the context path (1/16, 1/8)."""

    stride = 8
    multiple = 32

    def __init__(self, classes: int, config: BiSeNetConfig) -> None:
        super().__init__()
        norm: Norm = nn.BatchNorm2d
        width = config.width
        conv = partial(_ConvNorm, norm)
        self.context = _context(config)
        deep, middle = self.context.channels[2], self.context.channels[1]
        self.spatial = nn.Sequential(
            conv(3, _SPATIAL, 7, 2),
            conv(_SPATIAL, _SPATIAL, 3, 2),
            conv(_SPATIAL, _SPATIAL, 3, 2),
            conv(_SPATIAL, width, 1),
        )
        self.overall = conv(deep, width, 1)
        self.refine32 = _AttentionRefinement(norm, deep, width)
        self.refine16 = _AttentionRefinement(norm, middle, width)
        self.smooth16 = conv(width, width, 3)
        self.smooth8 = conv(width, width, 3)
        self.fusion = _FeatureFusion(norm, 2 * width)
        self.head = _head(norm, 2 * width, config.head, classes)
        self.auxiliary_head = nn.ModuleList(_head(norm, width, config.auxiliary_head, classes) for _ in range(2))
        self._initialise()

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        """Logits and, in training mode, auxiliary logits.

        Raises:
            ValueError: a size that does not divide, or a batch of one picture in training mode.
        """
        self._check(images_bchw)
        _, x16, x32 = self.context(images_bchw)
        overall = self.overall(x32.mean((2, 3), keepdim=True))
        y16 = self.smooth16(_twice(self.refine32(x32) + overall))
        y8 = self.smooth8(_twice(self.refine16(x16) + y16))
        logits = self.head(self.fusion(torch.cat([self.spatial(images_bchw), y8], 1)))
        if not self.training:
            return SegmOutput(logits)
        return SegmOutput(logits, tuple(head(y) for head, y in zip(self.auxiliary_head, (y16, y8), strict=True)))

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """The context path's, where it starts from ImageNet."""
        return list(self.context.parameters()) if isinstance(self.context, _Lite) else []

    def _check(self, images_bchw: Tensor) -> None:
        batch, _, height, width = images_bchw.shape
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"BiSeNet takes multiples of {self.multiple} pixels, not {height} x {width}")
        if self.training and batch < _MIN_TRAINING_BATCH:
            raise ValueError(
                "BiSeNet trains on batches of two pictures or more: its attention has one value a picture and channel, "
                "which batch norm cannot normalise"
            )

    def _initialise(self) -> None:
        kept = set() if not isinstance(self.context, _Lite) else {id(m) for m in self.context.modules()}
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and id(module) not in kept:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class _ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, norm: Norm, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), norm(outputs), nn.ReLU(inplace=True)
        )


class _AttentionRefinement(nn.Module):
    """3x3 convolution, its channels scaled by what their means say (the paper's ARM)."""

    def __init__(self, norm: Norm, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = _ConvNorm(norm, inputs, outputs, 3)
        self.attention = nn.Sequential(nn.Conv2d(outputs, outputs, 1, bias=False), norm(outputs), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x)
        return cast(Tensor, y * self.attention(y.mean((2, 3), keepdim=True)))


class _FeatureFusion(nn.Module):
    """1x1 convolution over both paths, and the same again scaled by what its channels' means say (the paper's FFM)."""

    def __init__(self, norm: Norm, channels: int) -> None:
        super().__init__()
        self.mix = _ConvNorm(norm, channels, channels, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x)
        return cast(Tensor, y + y * self.attention(y.mean((2, 3), keepdim=True)))


class _ResNet18(nn.Module):
    """ResNet-18 (He et al. 2016) without its classifier: features at strides 8, 16 and 32."""

    def __init__(self, stem: int) -> None:
        super().__init__()
        norm: Norm = nn.BatchNorm2d
        self.stem = _ConvNorm(norm, 3, stem, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = (stem, stem, 2 * stem, 4 * stem, 8 * stem)
        self.stages = nn.ModuleList(
            nn.Sequential(BasicBlock(norm, inputs, outputs, 1 if i == 0 else 2), BasicBlock(norm, outputs, outputs))
            for i, (inputs, outputs) in enumerate(pairwise(widths))
        )
        self.channels = widths[2:]

    def forward(self, images_bchw: Tensor) -> list[Tensor]:
        x = self.pool(self.stem(images_bchw))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1:]


class _Lite(nn.Module):
    """EfficientNet-Lite0 as the context path: features at strides 8, 16 and 32."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        self.trunk = EfficientNetLite()
        self.channels = self.trunk.channels[2:]
        if pretrained:
            self.trunk.load_imagenet()

    def forward(self, images_bchw: Tensor) -> list[Tensor]:
        return cast(list[Tensor], self.trunk(images_bchw)[2:])


def _context(config: BiSeNetConfig) -> _ResNet18 | _Lite:
    return _ResNet18(config.stem) if config.context == "resnet18" else _Lite(config.pretrained)


def _head(norm: Norm, inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(_ConvNorm(norm, inputs, hidden, 3), nn.Conv2d(hidden, classes, 1))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
