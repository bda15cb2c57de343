"""What a run's ``best.pt`` holds, as a network again."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import nn

from fpan_training.modules.segm.model import SegmConfig, build
from fpan_training.nets.bisenet import BiSeNetConfig
from fpan_training.nets.lite_fpn import LiteFpnConfig
from fpan_training.nets.rtformer import RTFormerConfig
from fpan_training.nets.unet import UNetConfig


def read_config(stored: dict[str, Any]) -> SegmConfig:
    """The network's configuration as a checkpoint holds it; weights come from the checkpoint, not from ImageNet."""
    nested = {"lite_fpn": LiteFpnConfig, "rtformer": RTFormerConfig, "bisenet": BiSeNetConfig, "unet": UNetConfig}
    members: dict[str, Any] = {}
    # An architecture that came after the checkpoint was written is not in it.
    for name in (f.name for f in fields(SegmConfig) if f.name in stored):
        members[name] = nested[name](**stored[name]) if name in nested else stored[name]
    config = SegmConfig(**members)
    return replace(
        config,
        lite_fpn=replace(config.lite_fpn, pretrained=False),
        bisenet=replace(config.bisenet, pretrained=False),
    )


def load_network(config: SegmConfig, weights: dict[str, torch.Tensor]) -> nn.Module:
    """The network in evaluation mode with a checkpoint's weights."""
    network = build(config)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return network.eval()
