"""Sums over the processes of a run. A batch is shared by all of them, and its loss is that of the whole batch."""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


def all_sum(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same in each of them; in one process the tensor itself.

    The gradient is exact where gradients are then averaged over the processes, as data-parallel training does: each
    process's share of the sum receives the gradients of all the losses that the sum is in.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return value
    return cast(Tensor, cast(Any, _AllSum).apply(value))


def mean_over_all(total: Tensor, mass: Tensor) -> Tensor:
    """A weighted mean over the batch of all processes, which the mean of the processes' own means is not.

    Args:
        total: this process's weighted sum, float of any shape.
        mass: this process's sum of the weights, a scalar.

    Returns:
        ``total / mass`` of all processes together, of the shape of ``total``; 0 where nothing weighs anything. A mass
        of less than 1 counts as 1. Gradients are those of :func:`all_sum`.
    """
    sums = all_sum(torch.cat([total.flatten(), mass.to(total.dtype).flatten()]))
    return (sums[:-1] / sums[-1].clamp(min=1)).view_as(total)


class _AllSum(torch.autograd.Function):
    """All-reduce forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
