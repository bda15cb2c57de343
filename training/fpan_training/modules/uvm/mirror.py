"""Mirroring batches of UV maps, as :func:`fpan_training.face3d.atlas.mirror` does single ones."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from fpan_training.face3d import atlas


def mirror(maps_bchw: Tensor) -> Tensor:
    """Mirrored square maps (B, C, S, S); what the atlas leaves in its place stays there."""
    stays = _stays(maps_bchw.shape[-1]).to(maps_bchw.device)
    return torch.where(stays, maps_bchw, maps_bchw.flip(-1))


@lru_cache(maxsize=4)
def _stays(size: int) -> Tensor:
    """Where mirroring moves nothing, bool (S, S)."""
    places = np.arange(size * size).reshape(size, size)
    return torch.from_numpy(atlas.mirror(places) == places)
