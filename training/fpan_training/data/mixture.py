"""Several data sets, each with a label space and a share of its own, as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from fpan.contract import Taxonomy
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import FaceFolder, Sample, is_shards
from fpan_training.data.label_space import LabelSpace, read_dataset_file
from fpan_training.data.shards import ShardFolder

Triple = tuple[Tensor, Tensor, Tensor]
Augmentation = Callable[[Sample, np.random.Generator], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""A sample to picture, uint8 (size, size, 3), and labels, uint8 (size, size)."""


class Pictures(Protocol):
    """Labelled pictures by number: a folder or shards."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures, without endings."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample:
        """A picture with the values of its mask."""
        ...

    def labels(self, index: int, /) -> NDArray[np.uint8]:
        """The mask of a picture alone, uint8 (H, W)."""
        ...


@dataclass(frozen=True)
class Part:
    """One data set of a mixture."""

    pictures: Pictures
    space: LabelSpace
    share: float = 1.0
    """How often each picture comes in an epoch, on the mean."""
    repeats: NDArray[np.float64] | None = None
    """How often one picture comes against another, float (pictures,), times ``share``; None: all alike."""
    frame: float = 1.0
    """Width of the pictures in widths of the aligned face's frame."""

    @classmethod
    def open(
        cls,
        location: str | Path,
        split: str,
        share: float = 1.0,
        space: LabelSpace | None = None,
        cache: Path | None = None,
    ) -> "Part":
        """A split of a folder, or of shards at a path or URL, with the label space that it declares.

        Args:
            location: of the folder, or of the shards.
            split: ``train``, ``val``, ...
            share: see :attr:`share`.
            space: instead of the one that the data set declares.
            cache: folder for copies of shards, see :meth:`fpan_training.data.shards.ShardFolder.open`.

        Raises:
            DataError: it cannot be read, or is not complete.
        """
        if is_shards(location):
            shards = ShardFolder.open(str(location), split, cache)
            return cls(shards, space or shards.space, share)
        root = Path(location)
        return cls(
            FaceFolder.open(root, split),
            space or LabelSpace.of_folder(root),
            share,
            frame=read_dataset_file(root).frame,
        )

    def sample(self, picture: int) -> Sample:
        """A picture with its labels as codes of :attr:`space`."""
        sample = self.pictures[picture]
        return replace(sample, labels=self.space.encode(sample.labels, sample.name), frame=self.frame)


@dataclass(frozen=True)
class MixedData(Dataset[Triple]):
    """Picture, uint8 (size, size, 3), its labels as codes, uint8 (size, size), and the number of its label space.

    The index is ``pass * len(self) + item``, as :class:`fpan_training.data.loader.EpochSampler` makes it; items are the
    pictures of all parts, one part after the other. With one part that tells every class apart, it is to the byte what
    :class:`fpan_training.data.loader.SegmentationData` gives.
    """

    parts: tuple[Part, ...]
    size: int
    augment: Callable[[Taxonomy], Augmentation] | None = None
    """Makes what changes the pictures of a part, from the taxonomy of the part's codes: merged groups are classes of
    it, with partners of their own, so that mirroring them is right. None: pictures are resized only."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.parts or min(part.share for part in self.parts) <= 0:
            raise ValueError("a mixture has one part or more, and each a share above 0")

    @cached_property
    def spaces(self) -> tuple[LabelSpace, ...]:
        """Of the parts, each once: what the numbers of label spaces mean."""
        spaces: list[LabelSpace] = []
        for part in self.parts:
            if part.space not in spaces:
                spaces.append(part.space)
        return tuple(spaces)

    @cached_property
    def repeats(self) -> NDArray[np.float64] | None:
        """How often each item comes in an epoch, float (items,); None: each once."""
        if all(part.share == 1 and part.repeats is None for part in self.parts):
            return None
        shares = [
            part.share * (np.ones(len(part.pictures)) if part.repeats is None else part.repeats) for part in self.parts
        ]
        return np.concatenate(shares)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0] + [len(part.pictures) for part in self.parts])

    @cached_property
    def _augmentations(self) -> tuple[Augmentation | None, ...]:
        return tuple(self.augment and self.augment(part.space.coded) for part in self.parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def where(self, item: int) -> tuple[int, int]:
        """Part and picture of an item."""
        part = int(np.searchsorted(self._starts, item, side="right")) - 1
        return part, item - int(self._starts[part])

    def __getitem__(self, index: int) -> Triple:
        turn, item = divmod(index, len(self))
        number, picture = self.where(item)
        part, augment = self.parts[number], self._augmentations[number]
        sample = part.sample(picture)
        if augment is None:
            image, labels = resize_pair(sample.image, sample.labels, self.size)
        else:
            image, labels = augment(sample, np.random.default_rng((self.seed, turn, item)))
        space = torch.tensor(self.spaces.index(part.space))
        return torch.from_numpy(image), torch.from_numpy(labels), space


def collate_mixed(items: Sequence[Triple]) -> Triple:
    """Stacks items into a batch: uint8 (B, H, W, 3), uint8 (B, H, W) and int64 (B,)."""
    images, labels, spaces = zip(*items, strict=True)
    return torch.stack(images), torch.stack(labels), torch.stack(spaces)


def pictures_of_an_epoch(counts: Sequence[float], shares: Sequence[float], epoch_pictures: int) -> list[float]:
    """How many pictures of each data set an epoch has.

    Args:
        counts: pictures of each set; the first is the main one.
        shares: of an epoch's pictures, for all but the first, which makes up the rest. Empty: as many as each has.
        epoch_pictures: of an epoch; 0: as many as let every picture of the main set come once.

    Raises:
        ValueError: shares that leave nothing for the main set, or are not one for each of the others.
    """
    if shares and len(shares) != len(counts) - 1:
        raise ValueError(f"{len(counts) - 1} extra data sets have {len(shares)} shares")
    if shares and (min(shares) <= 0 or sum(shares) >= 1):
        raise ValueError("shares of extra data sets are more than 0 and leave some for the main one")
    main, *others = counts
    if shares:
        others = [main * share / (1 - sum(shares)) for share in shares]
    scale = epoch_pictures / (main + sum(others)) if epoch_pictures else 1.0
    return [count * scale for count in (main, *others)]
