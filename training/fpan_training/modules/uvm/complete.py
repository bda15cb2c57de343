"""Completing single UV maps: by the trained network, or, without one, by mirroring."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from fpan_training.engine.plots import to_bytes
from fpan_training.face3d.atlas import mirror
from fpan_training.face3d.uv import UvMap
from fpan_training.modules.uvm.fill import mirror_labels, mirror_texture
from fpan_training.modules.uvm.model import UvGan, load
from fpan_training.modules.uvm.step import UvBatch, complete_batch, with_noise
from fpan_training.taxonomy import TAXONOMY

_SEED = 0
"""Of the noise in the holes: a map is always completed in the same way."""


class Completer(Protocol):
    """What completes UV maps."""

    @property
    def size(self) -> int:
        """Side of the maps in texels."""
        ...

    def complete(self, uv_map: UvMap) -> UvMap:
        """The map without holes. What was visible stays as it was, to the byte; labels stay None where there are none.

        Raises:
            ValueError: a map of another size.
        """
        ...


@dataclass(frozen=True)
class MirrorCompletion:
    """Completes from the mirror image, else from the nearest texel. Needs no training."""

    size: int = 256

    def complete(self, uv_map: UvMap) -> UvMap:
        """See :class:`Completer`."""
        _check(uv_map, self.size)
        labels = None if uv_map.labels is None else mirror_labels(uv_map.labels, uv_map.visible)
        return UvMap(mirror_texture(uv_map.texture, uv_map.visible), labels, np.ones_like(uv_map.visible))


@dataclass(frozen=True)
class Completion:
    """Completes with the trained generator.

    A hidden label comes from the mirror image where that is seen, since most parts are the same on both sides, and from
    the label head where neither side is.
    """

    network: UvGan

    @classmethod
    def load(cls, checkpoint: Path) -> "Completion":
        """From a checkpoint of ``fpan-train train uvm``.

        Raises:
            ValueError: the checkpoint is another module's.
        """
        return cls(load(checkpoint))

    @property
    def size(self) -> int:
        """Side of the maps in texels."""
        return self.network.config.size

    def complete(self, uv_map: UvMap) -> UvMap:
        """See :class:`Completer`."""
        _check(uv_map, self.size)
        visible = uv_map.visible
        partial = with_noise(uv_map.texture, visible, np.random.default_rng(_SEED))
        filled = mirror_texture(uv_map.texture, visible)
        unknown = np.full(visible.shape, TAXONOMY.ignore, np.uint8)
        parts = (uv_map.texture, visible, visible, partial, filled, unknown)
        batch = UvBatch(*(torch.from_numpy(part)[None] for part in parts))
        texture, completed = complete_batch(self.network, batch)
        whole = np.where(visible[..., None], uv_map.texture, to_bytes(texture[0]))
        labels = None
        if uv_map.labels is not None:
            known = visible & (uv_map.labels != TAXONOMY.ignore)
            head = np.asarray(completed.labels[0].argmax(0).byte().cpu().numpy())
            labels = np.where(known | mirror(known), mirror_labels(uv_map.labels, visible), head)
        return UvMap(whole, labels, np.ones_like(visible))


def completer(checkpoint: Path | None, size: int) -> "Completer":
    """The one of a checkpoint, kept for the next call; or, without one, mirroring at ``size`` texels."""
    return MirrorCompletion(size) if checkpoint is None else _load_once(checkpoint)


def without_occlusion(uv_map: UvMap) -> UvMap:
    """The map without what is labelled as occlusion: completion shows the face there instead."""
    if uv_map.labels is None:
        return uv_map
    return replace(uv_map, visible=uv_map.visible & (uv_map.labels != TAXONOMY.id_of("occlusion")))


@lru_cache(maxsize=1)
def _load_once(checkpoint: Path) -> Completion:
    return Completion.load(checkpoint)


def _check(uv_map: UvMap, size: int) -> None:
    if uv_map.visible.shape != (size, size):
        raise ValueError(f"this completes maps of {size} texels, not {uv_map.visible.shape}: unwrap at that size")
