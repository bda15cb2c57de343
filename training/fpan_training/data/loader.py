"""From a folder to batches. Every picture of every epoch has a seed of its own: a resumed run sees the same bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from fpan_training.data.augment import Augment, resize_pair
from fpan_training.data.folder import FaceFolder

Pair = tuple[Tensor, Tensor]


class Labelled(Protocol):
    """Masks by number."""

    def __len__(self) -> int: ...

    def labels(self, index: int, /) -> NDArray[np.uint8]:
        """The mask of a picture, uint8 (H, W)."""
        ...


@dataclass(frozen=True)
class SegmentationData(Dataset[Pair]):
    """Pairs of a picture, uint8 (size, size, 3), and its labels, uint8 (size, size).

    The index is ``pass * len(folder) + picture``, as :class:`EpochSampler` makes it. Without ``augment`` the picture
    is resized only.
    """

    folder: FaceFolder
    size: int
    augment: Augment | None = None
    seed: int = 0
    repeats: NDArray[np.float64] | None = None
    """How often each picture comes in an epoch; None: once."""

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> Pair:
        turn, picture = divmod(index, len(self.folder))
        sample = self.folder[picture]
        if self.augment is None:
            image, labels = resize_pair(sample.image, sample.labels, self.size)
        else:
            image, labels = self.augment(sample, np.random.default_rng((self.seed, turn, picture)))
        return torch.from_numpy(image), torch.from_numpy(labels)


class EpochSampler(Sampler[int]):
    """The pictures of an epoch in an order that depends on seed and epoch alone.

    A picture whose share in ``repeats`` is 2.3 comes twice in every epoch and a third time in three of ten, each time
    as another pass over the data set, so that it is changed in another way.

    With ``share`` = (r, n) it is what process r of n sees: batches of b pictures in each of them are together the batch
    of n * b pictures that one process alone would see.

    ``skip`` leaves out that many pictures at the beginning of the epoch's order, those of all processes together: a
    run that stopped within an epoch has seen them. The length stays that of the whole epoch.
    """

    def __init__(
        self,
        pictures: int,
        seed: int = 0,
        repeats: NDArray[np.float64] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.pictures = pictures
        self.seed = seed
        self.epoch = 0
        self.skip = 0
        self._upto = np.cumsum(np.ones(pictures) if repeats is None else repeats)
        self._passes = 1 if repeats is None else int(np.ceil(repeats.max())) + 1
        self._length = round(float(self._upto[-1]))
        self._share = share

    def __len__(self) -> int:
        return self._length // self._share[1]

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        # Systematic sampling: one offset, then equal steps along the shares laid end to end.
        at = (np.arange(self._length) + rng.random()) * self._upto[-1] / self._length
        chosen = np.searchsorted(self._upto, at, side="right")
        first = np.searchsorted(chosen, chosen)
        turn = self.epoch * self._passes + np.arange(self._length) - first
        rank, processes = self._share
        order = rng.permutation(turn * self.pictures + chosen)
        whole = len(self) * processes
        return iter(order[self.skip : whole][rank::processes].tolist())


def repeat_factors(folder: Labelled, enough: float, classes: int) -> NDArray[np.float64]:
    """How often each picture should come in an epoch so that rare classes are seen (Gupta et al., LVIS, 2019).

    A class that ``f`` of the pictures show asks for ``max(1, sqrt(enough / f))``; a picture gets what the rarest of
    its classes asks for.

    Args:
        folder: labelled pictures; every mask is read once.
        enough: the share of the pictures from which on a class is not rare. 0: every picture comes once.
        classes: ids from this on count for nothing.
    """
    if enough <= 0:
        return np.ones(len(folder))
    shown = np.zeros((len(folder), classes), bool)
    for index, row in enumerate(shown):
        row[[v for v in np.unique(folder.labels(index)) if v < classes]] = True
    share = shown.mean(0).clip(min=1 / len(folder))
    asked = np.sqrt(enough / share).clip(min=1)
    return np.asarray(np.where(shown, asked, 1.0).max(1))


def collate(pairs: Sequence[Pair]) -> Pair:
    """Stacks pairs into a batch: uint8 (B, H, W, 3) and uint8 (B, H, W)."""
    images, labels = zip(*pairs, strict=True)
    return torch.stack(images), torch.stack(labels)
