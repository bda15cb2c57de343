"""What a network costs."""

from typing import cast

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fpan_training.nets.interface import SegmNetwork


def macs(network: nn.Module, size: int) -> int:
    """Multiply-accumulates of one picture: convolutions and matrix products, as PyTorch counts them."""
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        cast(SegmNetwork, network)(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2
