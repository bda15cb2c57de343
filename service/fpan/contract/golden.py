"""Golden pictures: crops that show nobody, and what a version's own file said of them when it was published.

Whoever loads the version, with whatever runtime and in whatever precision, can see at once whether it still says so.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fpan.contract.repository import RepositoryError

GOLDEN_FILE = "golden.npz"
"""One of the files of a version. Versions from before there were golden pictures have none."""


@dataclass(frozen=True)
class GoldenPictures:
    """What ``golden.npz`` holds, under the names of the members."""

    images: NDArray[np.uint8]
    """RGB crops as the network takes them, uint8 (N, S, S, 3), N at least 1."""
    labels: NDArray[np.uint8]
    """What the version's file says of them under ONNX Runtime in float32 on a processor, uint8 (N, S, S)."""

    def __post_init__(self) -> None:
        shapes = f"images {self.images.dtype} {self.images.shape}, labels {self.labels.dtype} {self.labels.shape}"
        if self.images.dtype != np.uint8 or self.labels.dtype != np.uint8:
            raise ValueError(f"golden pictures are bytes, not {shapes}")
        fits = self.images.ndim == 4 and self.images.shape == (*self.labels.shape, 3)
        if not fits or not self.labels.size:
            raise ValueError(f"golden pictures are pictures and one label map each, not {shapes}")

    @classmethod
    def read(cls, path: Path) -> "GoldenPictures":
        """Reads what :meth:`write` wrote.

        Raises:
            RepositoryError: the file is missing, or holds no golden pictures.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                return cls(content["images"], content["labels"])
        except FileNotFoundError:
            raise RepositoryError(f"{path} is missing: fetch the version again") from None
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, BadZipFile, zlib.error) as error:
            raise RepositoryError(f"{path} holds no golden pictures ({error}): fetch the version again") from error

    def write(self, path: Path) -> None:
        """Writes the file; the same pictures give the same bytes."""
        np.savez_compressed(path, images=self.images, labels=self.labels)
