"""From a folder to batches. Every picture of every epoch has a seed of its own: a resumed run sees the same bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from fpan_training.data.augment import Augment, resize_pair
from fpan_training.data.folder import FaceFolder

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class SegmentationData(Dataset[Pair]):
    """Pairs of a picture, uint8 (size, size, 3), and its labels, uint8 (size, size).

    The index is ``epoch * len(folder) + picture``, as :class:`EpochSampler` makes it. Without ``augment`` the picture
    is resized only.
    """

    folder: FaceFolder
    size: int
    augment: Augment | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> Pair:
        epoch, picture = divmod(index, len(self.folder))
        sample = self.folder[picture]
        if self.augment is None:
            image, labels = resize_pair(sample.image, sample.labels, self.size)
        else:
            image, labels = self.augment(sample, np.random.default_rng((self.seed, epoch, picture)))
        return torch.from_numpy(image), torch.from_numpy(labels)


class EpochSampler(Sampler[int]):
    """A permutation of the pictures that depends on seed and epoch alone."""

    def __init__(self, pictures: int, seed: int = 0) -> None:
        self.pictures = pictures
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.pictures

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.pictures)
        return iter((order + self.epoch * self.pictures).tolist())


def collate(pairs: Sequence[Pair]) -> Pair:
    """Stacks pairs into a batch: uint8 (B, H, W, 3) and uint8 (B, H, W)."""
    images, labels = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(labels)
