"""U-Net (Ronneberger et al., MICCAI 2015), with batch norm, and padded so that what goes in comes out at its size."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpan_training.nets.interface import SegmOutput


@dataclass(frozen=True)
class UNetConfig:
    """Width and depth. The defaults are the paper's: 23 convolutions, 31 M parameters."""

    width: int = 64
    """Channels at full resolution; each halving doubles them."""
    depth: int = 4
    """How often the resolution is halved."""


class UNet(nn.Module):
    """The network. Logits at stride 1; no auxiliary head."""

    stride = 1

    def __init__(self, classes: int, config: UNetConfig) -> None:
        super().__init__()
        self.multiple = 2**config.depth
        widths = [config.width * 2**i for i in range(config.depth + 1)]
        inputs = [3, *widths]
        self.down = nn.ModuleList(_Double(a, b) for a, b in zip(inputs, widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for coarse, fine in pairs)
        self.up = nn.ModuleList(_Double(2 * fine, fine) for _, fine in pairs)
        self.classifier = nn.Conv2d(config.width, classes, 1)

    def forward(self, images_bchw: Tensor) -> SegmOutput:
        """Logits at the input's own size.

        Raises:
            ValueError: a size that does not divide.
        """
        height, width = images_bchw.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"U-Net takes multiples of {self.multiple} pixels, not {height} x {width}")
        kept: list[Tensor] = []
        x = images_bchw
        for block in self.down:
            x = block(x if not kept else self.pool(x))
            kept.append(x)
        for enlarge, block, skip in zip(self.enlarge, self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([skip, enlarge(x)], 1))
        return SegmOutput(self.classifier(x))

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """None: the network starts from nothing."""
        return []


class _Double(nn.Sequential):
    """Twice: 3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            convolution = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)
