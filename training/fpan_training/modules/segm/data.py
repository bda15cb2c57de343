"""What SEGM trains on: one or several data sets, what their labels tell apart, and the weights of Eq. 2."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from fpan.contract import Taxonomy
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fpan_training.data.augment import Augment, Example
from fpan_training.data.folder import DataError, name_of
from fpan_training.data.mixture import MixedData, Part, pictures_of_an_epoch
from fpan_training.data.soft_labels import Soft, SoftLabelStore
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.modules.predictions import FacePrediction, PredictionStore
from fpan_training.modules.segm.step import SegmBatch
from fpan_training.modules.segm.weights import WeightConfig, pixel_weights


@dataclass(frozen=True)
class SegmData(Dataset[SegmBatch]):
    """A picture, its labels as codes, its weights and the number of its label space, from a mixture of data sets.

    The index is ``pass * len(self) + item``, as :class:`fpan_training.data.loader.EpochSampler` makes it. Under plain
    weights the pictures are to the byte those of :class:`fpan_training.data.mixture.MixedData`.
    """

    parts: tuple[Part, ...]
    size: int
    augment: Callable[[Taxonomy], Augment]
    """Makes what changes the pictures of a part, from the taxonomy of the part's codes."""
    seed: int = 0
    weights: WeightConfig = field(default_factory=WeightConfig)
    stores: tuple[PredictionStore, ...] = ()
    """What LOM and PPM say of each part's pictures; empty under plain weights."""
    soft: tuple[SoftLabelStore, ...] = ()
    """What a teacher says of each part's pictures; empty: there is none."""

    def __post_init__(self) -> None:
        if not self.weights.plain and len(self.stores) != len(self.parts):
            raise ValueError(f"{len(self.parts)} data sets have {len(self.stores)} stores of predictions")
        if self.soft and len(self.soft) != len(self.parts):
            raise ValueError(f"{len(self.parts)} data sets have {len(self.soft)} stores of soft labels")

    @cached_property
    def mixed(self) -> MixedData:
        """The data sets without weights."""
        return MixedData(self.parts, self.size, self.augment, self.seed)

    @cached_property
    def repeats(self) -> NDArray[np.float64] | None:
        """How often each item comes in an epoch, float (items,); None: once."""
        return self.mixed.repeats

    @cached_property
    def _augments(self) -> tuple[Augment, ...]:
        return tuple(self.augment(part.space.coded) for part in self.parts)

    def __len__(self) -> int:
        return len(self.mixed)

    def __getitem__(self, index: int) -> SegmBatch:
        turn, item = divmod(index, len(self))
        number, picture = self.mixed.where(item)
        part = self.parts[number]
        sample = part.sample(picture)
        if self.soft:
            sample = replace(sample, soft=self.soft[number].get(sample.name))
        prediction = None if self.weights.plain else self.stores[number].get(sample.name)
        rng = np.random.default_rng((self.seed, turn, item))
        example = self._augments[number].example(sample, rng, None if prediction is None else prediction.points)
        return SegmBatch(
            torch.from_numpy(example.image),
            torch.from_numpy(example.labels),
            None if self.weights.plain else torch.from_numpy(weights_of(example, prediction, self.weights)),
            torch.tensor(self.mixed.spaces.index(part.space)),
            torch.from_numpy(self._soft(example)) if self.soft else None,
        )

    def _soft(self, example: Example) -> Soft:
        return np.zeros((*example.labels.shape, 3), np.uint8) if example.soft is None else example.soft


def weights_of(example: Example, prediction: FacePrediction | None, config: WeightConfig) -> NDArray[np.float32]:
    """w_i of an augmented picture, float (H, W): 1 where LOM and PPM were not asked, or saw no face."""
    if prediction is None or example.points is None:
        return np.ones(example.labels.shape, np.float32)
    visibility = prediction.visibility[SCHEME.partner] if example.mirrored else prediction.visibility
    # What augmentation itself has laid over the face hides landmarks as well.
    at = np.rint(example.points).astype(np.int64)
    height, width = example.mask.shape
    inside = ((at >= 0) & (at < (width, height))).all(1)
    covered = np.zeros(len(at), np.bool_)
    covered[inside] = example.mask[at[inside, 1], at[inside, 0]]
    return pixel_weights(
        example.points, np.where(covered, 0, visibility).astype(np.float32), prediction.angles, (height, width), config
    )


def allocate(
    parts: Sequence[Part], shares: Sequence[float], epoch_pictures: int, repeats: NDArray[np.float64]
) -> tuple[Part, ...]:
    """The same data sets, so that an epoch has a given number of pictures and each set its share of it.

    Args:
        parts: data sets; the first is the main one.
        shares: of an epoch's pictures, for all but the first, which makes up the rest. Empty: as many as each has.
        epoch_pictures: of an epoch; 0: as many as let every picture of the main set come as often as ``repeats`` says.
        repeats: of the main set's pictures, float (pictures,), how often each comes against the others.

    Raises:
        ValueError: as :func:`~fpan_training.data.mixture.pictures_of_an_epoch`.
    """
    main = float(repeats.sum())
    counts = [main, *(len(part.pictures) for part in parts[1:])]
    wanted = pictures_of_an_epoch(counts, shares, epoch_pictures)
    first = replace(parts[0], share=wanted[0] / main, repeats=None if (repeats == 1).all() else repeats)
    others = [replace(p, share=w / len(p.pictures)) for p, w in zip(parts[1:], wanted[1:], strict=True)]
    return (first, *others)


def open_stores(predictions: Path, locations: Sequence[str | Path]) -> tuple[PredictionStore, ...]:
    """The stores of predictions of data sets: ``predictions/NAME``, by the names of their folders.

    Raises:
        DataError: some are missing; all of them are named, with the command that makes them.
    """
    folders = [predictions / name_of(location) for location in locations]
    missing = [
        f"{folder}: run `fpan-train predictions --data {location} --out {folder}` (and see its --help)"
        for folder, location in zip(folders, locations, strict=True)
        if not any(folder.glob("*.npz"))
    ]
    if missing:
        raise DataError("there are no predictions of LOM and PPM in\n  " + "\n  ".join(missing))
    return tuple(PredictionStore(folder) for folder in folders)


def collate_segm(items: Sequence[SegmBatch]) -> SegmBatch:
    """Stacks items into a batch."""
    images, labels, weights, spaces, soft = zip(*items, strict=True)
    return SegmBatch(torch.stack(images), torch.stack(labels), _stack(weights), _stack(spaces), _stack(soft))


def _stack(tensors: Sequence[Tensor | None]) -> Tensor | None:
    known = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(known) if known else None
