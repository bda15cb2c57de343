"""Blocks of RTFormer (Wang et al. 2022): residual convolutions, the two attentions and the dual-resolution block.

Both softmaxes are computed in float32 whatever the network's own precision: over thousands of positions a float16
one underflows, and so does the 1e-6 that guards the division after it.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MLP_EPS = 1e-6
_GROUP_EPS = 1e-6
"""Added to the sum that double normalisation divides by."""
_ATTENTION_STD = 1e-3
"""Of the normal distribution that keys and values of the low branch start from."""

Norm = Callable[[int], nn.BatchNorm2d]
"""Makes the batch norm of a number of channels; it carries the network's momentum."""
Upsample = Callable[[Tensor, torch.Size], Tensor]
"""Enlarges (B, C, h, w) to a height and width."""


class Pair(NamedTuple):
    """Features of the two branches."""

    high: Tensor
    """(B, 2c, H / 8, W / 8)."""
    low: Tensor
    """(B, C, h, w): C = 4c at 1/16 before layer 4, 8c at 1/32 after it."""


class PreConv(nn.Sequential):
    """Batch norm, ReLU, convolution without bias: the pre-activated convolution used all over the network."""

    def __init__(self, norm: Norm, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            norm(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. Without ``closing_relu`` the caller applies it."""

    def __init__(self, norm: Norm, inputs: int, outputs: int, stride: int = 1, *, closing_relu: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = norm(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
        self.closing_relu = closing_relu

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.shortcut(x)
        return F.relu(y) if self.closing_relu else cast(Tensor, y)


class DropPath(nn.Module):
    """Drops a residual branch for whole samples while training, and scales the kept ones up (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"a drop-path rate is at least 0 and less than 1, not {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), each sample either zero or divided by the share that is kept."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.rate
        return x * (keep.to(x.dtype) / (1 - self.rate))


class Mlp(nn.Sequential):
    """Batch norm, 3x3, GELU, 3x3, with as many hidden channels as outer ones."""

    def __init__(self, norm: Norm, channels: int) -> None:
        first = norm(channels)
        first.eps = _MLP_EPS
        super().__init__(
            first,
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )


class GpuFriendlyAttention(nn.Module):
    """External attention whose heads are folded into one product (eq. 4 to 6 of the paper), for the low branch.

    Keys and values are parameters, so both products are 1x1 convolutions; normalised over space, then over the
    channels of each group (grouped double normalisation).
    """

    def __init__(self, norm: Norm, inputs: int, channels: int, groups: int, stride: int) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels of attention do not divide into {groups} groups")
        self.norm = norm(inputs)
        self.keys = nn.Conv2d(inputs, channels, 1, stride, bias=False)
        self.values = nn.Conv2d(channels, channels, 1, bias=False)
        self.groups = groups

    def reset_parameters(self) -> None:
        """Draws keys and values from N(0, 1e-3)."""
        nn.init.normal_(self.keys.weight, std=_ATTENTION_STD)
        nn.init.normal_(self.values.weight, std=_ATTENTION_STD)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, channels, H / stride, W / stride)."""
        scores_bchw: Tensor = self.keys(self.norm(x))
        _, channels, height, width = scores_bchw.shape
        weights_bcn = scores_bchw.flatten(2).softmax(2, dtype=torch.float32)
        grouped_bgcn = weights_bcn.reshape(-1, self.groups, channels // self.groups, height * width)
        grouped_bgcn = grouped_bgcn / (grouped_bgcn.sum(2, keepdim=True) + _GROUP_EPS)
        weights_bchw = grouped_bgcn.reshape(-1, channels, height, width).to(scores_bchw.dtype)
        return cast(Tensor, self.values(weights_bchw))


class CrossAttention(nn.Module):
    """Attention of the high branch to a fixed grid of positions of the low one (section 3.3 of the paper)."""

    def __init__(self, norm: Norm, channels: int, low_channels: int, size: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.low_norm = norm(low_channels)
        self.keys_values = nn.Conv2d(low_channels, 2 * channels, 1, bias=False)
        self.size = size

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """What the low branch, (B, low_channels, h, w), tells the high one: (B, channels, H, W) like ``high``."""
        _, channels, height, width = high.shape
        # A fixed window rather than adaptive pooling, whose size would be worked out when the exported graph runs.
        window = (low.shape[-2] // self.size, low.shape[-1] // self.size)
        grid = self.keys_values(F.max_pool2d(self.low_norm(low), window))
        keys_bck, values_bck = grid.flatten(2).chunk(2, 1)
        queries_bnc = self.norm(high).permute(0, 2, 3, 1).flatten(1, 2)
        # Scaled by the number of keys, not by their length: the released model does so.
        scores_bnk = torch.bmm(queries_bnc, keys_bck) * (self.size * self.size) ** -0.5
        weights_bnk = scores_bnk.softmax(2, dtype=torch.float32).to(scores_bnk.dtype)
        mixed_bnc = torch.bmm(weights_bnk, values_bck.transpose(1, 2))
        return mixed_bnc.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


class DualBlock(nn.Module):
    """RTFormer block: attention and MLP on both branches; low feeds high before, high feeds low after."""

    def __init__(
        self, norm: Norm, upsample: Upsample, high: int, low: tuple[int, int], groups: int, cross: int, drop: float
    ) -> None:
        """``low`` is the low branch's channels before and after; where they differ, it is halved in size too."""
        super().__init__()
        before, after = low
        stride = 1 if before == after else 2
        self.low_shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.low_shortcut = nn.Sequential(norm(before), nn.Conv2d(before, after, 1, stride, bias=False))
        self.low_attention = GpuFriendlyAttention(norm, before, after, groups, stride)
        self.low_mlp = Mlp(norm, after)
        self.compression = PreConv(norm, after, high)
        self.high_attention = CrossAttention(norm, high, after, cross)
        self.high_mlp = Mlp(norm, high)
        self.injection = nn.Sequential(
            PreConv(norm, high, after // 2, 3, 2),
            PreConv(norm, after // 2, after, 3, 2),
        )
        self.drop_path = DropPath(drop)
        self.upsample = upsample

    def forward(self, pair: Pair) -> Pair:
        """The high branch keeps its shape; the low one leaves at 1/32 with 8c channels."""
        high, low = pair
        low = self.low_shortcut(low) + self.drop_path(self.low_attention(low))
        low = low + self.drop_path(self.low_mlp(low))
        high = high + self.upsample(self.compression(low), high.shape[-2:])
        high = high + self.drop_path(self.high_attention(high, low))
        high = high + self.drop_path(self.high_mlp(high))
        return Pair(high, low + self.injection(high))
