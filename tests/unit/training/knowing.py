"""A network that knows what was drawn: pictures whose pixels say their class, and what a network says of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from fpan.contract import Taxonomy
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray

STEP = 12
"""Of the grey levels of neighbouring classes."""


def drawn(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, RGB uint8 (H, W, 3), whose grey levels are its labels; black is background."""
    return np.repeat((labels * STEP)[..., None], 3, 2).astype(np.uint8)


@dataclass(frozen=True)
class Knowing:
    """Reads the classes from the grey levels, at every pixel of its input."""

    input_size: int = 64
    taxonomy: Taxonomy = TAXONOMY
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = field(default=lambda labels: labels)
    """What it says instead of the labels that it reads."""

    def logits(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`fpan_training.evaluate.quality.Network`."""
        labels = self.change(np.rint(crop[..., 0] / STEP).astype(np.uint8))
        known = np.arange(len(self.taxonomy))[:, None, None] == labels
        return np.asarray(np.where(known, 8.0, 0.0), np.float32)
