"""`fpan-train soft-labels`: what a trained network thinks of every pixel of a data set, for another to learn from.

The network looks at each picture at several sizes and from both sides, and the mean of what it says is kept: that is
better than what it says at once, so that what learns from it gets by on one look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from fpan_training.data.folder import read_rgb
from fpan_training.data.label_space import read_dataset_file
from fpan_training.data.soft_labels import Soft, SoftLabelStore, soft_of
from fpan_training.engine.progress import track
from fpan_training.landmarks.build import list_images
from fpan_training.modules.segm.checkpoint import load_network, read_config
from fpan_training.modules.segm.mirrored import Mirrored
from fpan_training.modules.segm.preprocess import Normalise
from fpan_training.modules.segm.step import to_size
from fpan_training.nets.interface import SegmNetwork
from fpan_training.taxonomy import TAXONOMY

_WIDE = 1.2
"""Pictures from this width on, in widths of the aligned face frame, are looked at whole and at the frame alone."""


@dataclass(frozen=True)
class SoftLabels:
    """Keeps what a network thinks of every picture of a data set. Run it again and it does the rest."""

    checkpoint: Path
    """Of SEGM: the teacher."""
    data: Path
    """A data set, or a folder of aligned faces."""
    out: Path
    """Folder to write: ``NAME.png`` for each picture."""
    sizes: tuple[int, ...] = (256, 384)
    """Sides in pixels at which the network looks; the maps have the largest."""

    def __call__(self) -> SoftLabelStore:
        """Fills the folder and returns it."""
        store = SoftLabelStore(self.out)
        todo = [path for path in list_images(self.data) if not store.path(path.stem).is_file()]
        teacher, frame = Teacher.load(self.checkpoint), read_dataset_file(self.data).frame
        for path in track(todo, "soft labels"):
            store.put(path.stem, teacher(read_rgb(path), self.sizes, frame))
        print(f"{self.out}: {len(todo)} pictures more")
        return store


@dataclass(frozen=True)
class Teacher:
    """A network that is asked from both sides."""

    network: nn.Module
    normalise: Normalise

    @classmethod
    def load(cls, checkpoint: Path) -> "Teacher":
        """From a run's checkpoint."""
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network = load_network(read_config(stored["segm"]), stored["network"])
        return cls(Mirrored(network, TAXONOMY), Normalise())

    def __call__(self, image: NDArray[np.uint8], sizes: Sequence[int], frame: float = 1.0) -> Soft:
        """What it thinks of a square picture, uint8 (H, W, 3), that is ``frame`` widths of the aligned face wide."""
        side = max(sizes)
        whole = self._probabilities(image, sizes, side)
        if frame < _WIDE:
            return soft_of(whole)
        # The face's own frame, at its usual size: what the network knows best.
        border = (1 - 1 / frame) / 2
        first, last = round(border * image.shape[0]), round((1 - border) * image.shape[0])
        start = round(border * side)
        inner = side - 2 * start
        part = whole[:, start : start + inner, start : start + inner]
        part[:] = (part + self._probabilities(image[first:last, first:last], sizes, inner)) / 2
        return soft_of(whole)

    def _probabilities(self, image: NDArray[np.uint8], sizes: Sequence[int], side: int) -> NDArray[np.float32]:
        """Mean over the sizes, float32 (C, side, side)."""
        multiple = cast(SegmNetwork, self.network).multiple
        total = torch.zeros(())
        with torch.inference_mode():
            for size in sizes:
                fitted = to_size(image, -(-size // multiple) * multiple)
                x = self.normalise(torch.from_numpy(fitted)[None]).contiguous(memory_format=torch.channels_last)
                logits = cast(SegmNetwork, self.network)(x).logits.float()
                shown = F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
                total = total + shown.softmax(1)[0]
        return np.asarray((total / len(sizes)).numpy(), np.float32)
