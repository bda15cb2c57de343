"""Deep aggregation pyramid pooling (Hong et al. 2021, DDRNet): context of the whole picture at 1/32."""

from typing import cast

import torch
from torch import Tensor, nn

from fpan_training.nets.rtformer_blocks import Norm, PreConv, Upsample

_POOLS = ((5, 2, 2), (9, 4, 4), (17, 8, 8))
"""Window, stride and padding of the pooled branches, in pixels of 1/32; padding counts as zeros, as in DDRNet."""


class Dappm(nn.Module):
    """Pools of growing windows, each added to the one before and mixed; all convolutions are pre-activated."""

    def __init__(self, norm: Norm, upsample: Upsample, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.point = PreConv(norm, inputs, width)
        self.pools = nn.ModuleList(nn.AvgPool2d(*pool) for pool in _POOLS)
        branches = len(_POOLS) + 1
        self.reduce = nn.ModuleList(PreConv(norm, inputs, width) for _ in range(branches))
        self.mix = nn.ModuleList(PreConv(norm, width, width, 3) for _ in range(branches))
        self.gather = PreConv(norm, width * (branches + 1), outputs)
        self.shortcut = PreConv(norm, inputs, outputs)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        pooled = [pool(x) for pool in self.pools] + [x.mean((2, 3), keepdim=True)]
        scales = [self.point(x)]
        for y, reduce, mix in zip(pooled, self.reduce, self.mix, strict=True):
            scales.append(mix(self.upsample(reduce(y), x.shape[-2:]) + scales[-1]))
        return cast(Tensor, self.gather(torch.cat(scales, 1)) + self.shortcut(x))
