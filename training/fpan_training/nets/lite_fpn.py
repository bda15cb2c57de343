"""LiteFPN: EfficientNet-Lite and a top-down decoder of dense 3x3 convolutions down to stride 2."""

from dataclasses import dataclass
from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from fpan_training.nets.efficientnet_lite import EfficientNetLite, Variant
from fpan_training.nets.interface import SegmOutput


@dataclass(frozen=True)
class LiteFpnConfig:
    """Size of the encoder and width of the decoder."""

    widths: tuple[int, int, int, int, int] = (32, 64, 96, 96, 128)
    """Channels at strides 2, 4, 8, 16 and 32."""
    stride: Literal[2, 4] = 2
    """Of the logits. At 4 the last step of the decoder is left out: a tenth less time in int8, coarser borders."""
    encoder: Variant = "lite0"
    """Of EfficientNet-Lite."""
    pretrained: bool = True
    """Start the encoder from ImageNet."""
    dropout: float = 0.1
    """Before the classifier."""


class _ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class _Merge(nn.Module):
    """Adds the upsampled coarse features to the encoder's and mixes them."""

    def __init__(self, coarse: int, skip: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, width, 1, bias=False) if coarse != width else nn.Identity()
        self.lateral = nn.Sequential(nn.Conv2d(skip, width, 1, bias=False), nn.BatchNorm2d(width))
        self.mix = _ConvNorm(width, width)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(self.reduce(coarse), scale_factor=2.0, mode="bilinear", align_corners=False)
        return cast(Tensor, self.mix(F.relu(up + self.lateral(skip))))


class LiteFpn(nn.Module):
    """The network. With the default widths: 3.3 M parameters, 0.93 GMAC at 256 x 256 (RTFormer-Slim: 1.16)."""

    multiple = 32

    def __init__(self, classes: int, config: LiteFpnConfig) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(config.encoder)
        channels = self.encoder.channels
        if config.pretrained:
            self.encoder.load_imagenet()
        w2, w4, w8, w16, w32 = config.widths
        self.top = _ConvNorm(channels[4], w32, 1)
        self.context = nn.Sequential(nn.Conv2d(w32, w32, 1), nn.Sigmoid())
        self.merge16 = _Merge(w32, channels[3], w16)
        self.merge8 = _Merge(w16, channels[2], w8)
        self.merge4 = _Merge(w8, channels[1], w4)
        self.stride: int = config.stride
        self.merge2 = _Merge(w4, channels[0], w2) if config.stride == 2 else None
        width = w2 if config.stride == 2 else w4
        self.classifier = nn.Sequential(nn.Dropout2d(config.dropout), nn.Conv2d(width, classes, 1))

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        """Logits at :attr:`stride`; there is no auxiliary head.

        Raises:
            ValueError: a size that does not divide.
        """
        height, width = images_bchw.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"LiteFPN takes multiples of {self.multiple} pixels, not {height} x {width}")
        x2, x4, x8, x16, x32 = self.encoder(images_bchw)
        y = self.top(x32)
        y = y * self.context(y.mean((2, 3), keepdim=True))
        y = self.merge4(self.merge8(self.merge16(y, x16), x8), x4)
        return SegmOutput(self.classifier(y if self.merge2 is None else self.merge2(y, x2)))

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """The encoder's."""
        return list(self.encoder.parameters())
