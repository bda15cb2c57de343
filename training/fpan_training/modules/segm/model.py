"""The architectures by name, and the one place that builds them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from torch import nn

from fpan_training.nets.bisenet import BiSeNet, BiSeNetConfig
from fpan_training.nets.interface import SegmNetwork
from fpan_training.nets.lite_fpn import LiteFpn, LiteFpnConfig
from fpan_training.nets.rtformer import RTFormer, RTFormerConfig
from fpan_training.nets.unet import UNet, UNetConfig


@dataclass(frozen=True)
class SegmConfig:
    """Which network and how large."""

    architecture: str = "lite_fpn"
    """``lite_fpn`` (EfficientNet-Lite0 encoder, ImageNet weights), ``rtformer_slim`` (the paper's, from scratch), or
    one of the published kinds that both are compared with: ``bisenet``, ``unet``."""
    classes: int = 20
    input_size: int = 256
    """Side of the square input in pixels."""
    lite_fpn: LiteFpnConfig = field(default_factory=LiteFpnConfig)
    rtformer: RTFormerConfig = field(default_factory=RTFormerConfig)
    bisenet: BiSeNetConfig = field(default_factory=BiSeNetConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)


ARCHITECTURES: dict[str, Callable[[SegmConfig], nn.Module]] = {
    "lite_fpn": lambda config: LiteFpn(config.classes, config.lite_fpn),
    "rtformer_slim": lambda config: RTFormer(config.classes, config.rtformer),
    "bisenet": lambda config: BiSeNet(config.classes, config.bisenet),
    "unet": lambda config: UNet(config.classes, config.unet),
}


def build(config: SegmConfig) -> nn.Module:
    """Builds the network that ``config`` names; it fulfils :class:`SegmNetwork`.

    Raises:
        ValueError: an unknown architecture, or an input size that it cannot take.
    """
    if config.architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {config.architecture!r}: choose from {', '.join(ARCHITECTURES)}")
    network = ARCHITECTURES[config.architecture](config)
    multiple = cast(SegmNetwork, network).multiple
    if config.input_size % multiple:
        raise ValueError(f"{config.architecture} takes multiples of {multiple} pixels, not {config.input_size}")
    return network
