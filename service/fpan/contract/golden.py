"""Golden pictures of a version: what it must say of some crops, wherever it is computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

GOLDEN_FILE = "golden.npz"
"""Name of the file in a version's folder. Its pictures show nobody: they are rendered."""


class GoldenError(ValueError):
    """The file holds no golden pictures. The message is the end of a sentence about the file."""


@dataclass(frozen=True)
class GoldenPictures:
    """Crops, and the labels that the exported file gives them in float32."""

    images: NDArray[np.uint8]
    """RGB, uint8 (N, S, S, 3), as the network takes them."""
    labels: NDArray[np.uint8]
    """uint8 (N, S, S)."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads them.

        Raises:
            GoldenError: the file is not what :meth:`write` writes.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                images, labels = file["images"], file["labels"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise GoldenError(f"holds no golden pictures: {error}") from error
        if (
            images.dtype != np.uint8
            or labels.dtype != np.uint8
            or images.shape != (*labels.shape, 3)
            or not len(images)
        ):
            raise GoldenError(f"holds pictures {images.dtype} {images.shape} and labels {labels.dtype} {labels.shape}")
        return cls(images, labels)

    def write(self, path: Path) -> None:
        """Writes them."""
        np.savez_compressed(path, images=self.images, labels=self.labels)

    def agreement(self, labels: NDArray[np.uint8]) -> float:
        """Share of the pixels of ``labels``, uint8 (N, S, S), that are as they must be, 0 to 1."""
        return float(np.mean(labels == self.labels))
