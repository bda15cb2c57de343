"""Evaluation against partial labels: predicted classes count as the groups that the truth can tell apart."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.label_space import LabelSpace

_OTHER = 254
"""Id of a predicted class that is in no group: wrong for the true group, a false alarm for none."""


@dataclass(frozen=True)
class Grouping:
    """The groups of a label space as classes of their own, numbered in the order of the masks' values."""

    space: LabelSpace

    def __len__(self) -> int:
        return len(self.space.declared)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the groups: their classes joined by ``+``."""
        return tuple(self.space.name_of(members) for _, members in self.space.declared)

    @cached_property
    def _numbers(self) -> NDArray[np.uint8]:
        table = np.full(256, self.space.taxonomy.ignore, np.uint8)
        for number, (value, _) in enumerate(self.space.declared):
            table[value] = number
        return table

    @cached_property
    def _first(self) -> NDArray[np.uint8]:
        """The first group of each class."""
        table = np.full(256, _OTHER, np.uint8)
        for number, (_, members) in reversed(list(enumerate(self.space.declared))):
            table[list(members)] = number
        return table

    @cached_property
    def _contains(self) -> NDArray[np.bool_]:
        """Whether a group has a class, bool (256 groups, 256 classes)."""
        table = np.zeros((256, 256), np.bool_)
        for number, (_, members) in enumerate(self.space.declared):
            table[number, list(members)] = True
        return table

    def truth(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Groups of a mask's values, uint8 (H, W); ``ignore`` where nothing is known."""
        return np.asarray(self._numbers[labels], np.uint8)

    def predicted(self, labels: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Groups of predicted classes, uint8 (H, W). Where groups overlap, the true one if it has the class."""
        return np.where(self._contains[truth, labels], truth, self._first[labels])
