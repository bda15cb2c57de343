"""Pseudo-labels for occlusion: what routing asks of DOM.

DOM takes the occlusion off a face; where the picture differs from what DOM makes of it, and its mask channel agrees,
something lies before the face. The mask is enlarged to the picture's own resolution without more ado: true masks that
are shrunk to 64 pixels and enlarged again keep an IoU of 0.986 at 512, and a guided filter along the picture's edges
gave no more than 0.988, and less for every softer mask.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.modules.dom.model import DomNetwork, load
from fpan_training.modules.dom.step import to_input
from fpan_training.taxonomy import TAXONOMY

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True)
class PseudoConfig:
    """How a probability becomes a label."""

    unsure: tuple[float, float] = (0.1, 0.9)
    """What lies between, bounds included, is left out of SEGM's loss."""


@dataclass(frozen=True)
class DeOcclusion:
    """A trained DOM, asked about one picture at a time."""

    network: DomNetwork
    config: PseudoConfig = field(default_factory=PseudoConfig)
    taxonomy: Taxonomy = TAXONOMY

    @classmethod
    def load(cls, checkpoint: Path, config: PseudoConfig | None = None) -> "DeOcclusion":
        """From a run's ``best.pt``.

        Raises:
            DataError: it is no checkpoint of DOM.
        """
        return cls(load(checkpoint), config or PseudoConfig())

    def remove(self, image: Image) -> tuple[Image, Map]:
        """Takes off what covers an aligned face.

        Args:
            image: RGB, uint8 (H, W, 3), square, of any size.

        Returns:
            The picture with the covered part replaced by DOM's face, uint8 (H, W, 3), and the probability that a
            pixel is covered, float32 (H, W). A grey network's face is grey.

        Raises:
            ValueError: the picture is not a square.
        """
        height, width = image.shape[:2]
        if height != width:
            raise ValueError(f"DOM takes aligned, square face crops, not {width} x {height} pixels")
        face, probability = self._infer(image)
        mask = _resize(probability, width)
        large = _resize(face, width)
        if large.ndim == 2:
            large = np.repeat(large[..., None], 3, 2)
        # As dom.model.compose: mask 0 leaves the picture's bytes as they are.
        mixed = (1 - mask[..., None]) * image + mask[..., None] * large * 255
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8), mask

    def label(self, image: Image, labels: Image | None = None) -> Image:
        """Labels with the occlusion in them, uint8 (H, W).

        Args:
            image: as for :meth:`remove`.
            labels: parts, uint8 (H, W), made by whatever did not see the occlusion; what DOM finds goes over them.
                None: nothing is known but occluded or not, and what is not gets 0. Such a map tells two groups apart,
                ``occlusion`` and all other classes together: declare that where it is trained on.

        Raises:
            ValueError: the picture is not a square, or the labels are of another size.
        """
        if labels is not None and labels.shape != image.shape[:2]:
            raise ValueError(f"labels are {labels.shape}, the picture is {image.shape[:2]}")
        return self.merge(self.remove(image)[1], labels)

    def merge(self, probability: Map, labels: Image | None) -> Image:
        """The label map of :meth:`label` from a probability, float32 (H, W), that :meth:`remove` gave."""
        low, high = self.config.unsure
        merged = np.zeros(probability.shape, np.uint8) if labels is None else labels.copy()
        merged[probability >= low] = self.taxonomy.ignore
        merged[probability > high] = self.taxonomy.id_of("occlusion")
        return merged

    def _infer(self, image: Image) -> tuple[Map, Map]:
        """DOM's face, float32 (size, size, 3) or (size, size), and the compared mask's probability."""
        config = self.network.rla.config
        small = _resize(image, config.size)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            x = to_input(torch.from_numpy(small)[None].to(device), config.channels)
            output, compared = self.network(x, every_step=False)
        face = output.faces[0, -1].float().permute(1, 2, 0).squeeze(-1)
        return face.cpu().numpy(), compared[0, 0].sigmoid().cpu().numpy()


def _resize(picture: NDArray[_T], side: int) -> NDArray[_T]:
    how = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), picture.dtype)
