"""Cross-entropy and Dice under partial labels: the probability of a group is the sum over its classes.

Pictures of several label spaces share a batch. Their label maps hold codes (:mod:`fpan_training.data.label_space`): a
class, a merged group of the picture's own space, or ignore. A pixel of code g says that one of the classes of g is
there. So a class or group k is there at pixels whose group lies within k, is not there where the two share nothing, and
is unknown where they overlap otherwise: such pixels count for nothing in the Dice of k.

:class:`Groups` is made once of a run; what is computed for a batch is :func:`group_log_probabilities`, for any
cross-entropy, and :func:`dice_sums`. Both are plain gathering and summing where no merged group is in play: the same
numbers to the bit as without spaces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpan_training.data.label_space import LabelSpace

_CODES = 256


@dataclass(frozen=True)
class Groups:
    """The groups of all label spaces of a run; a picture's space is its index among ``spaces``."""

    spaces: tuple[LabelSpace, ...]

    def __post_init__(self) -> None:
        if not self.spaces or len({len(space.taxonomy) for space in self.spaces}) > 1:
            raise ValueError("label spaces of one run must be of one taxonomy")

    @property
    def classes(self) -> int:
        """Classes of the network."""
        return len(self.spaces[0].taxonomy)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """What Dice is computed of, as class ids: the classes one by one, then the merged groups of all spaces."""
        singles = tuple((i,) for i in range(self.classes))
        return singles + tuple(dict.fromkeys(members for space in self.spaces for members in space.merged))

    @cached_property
    def plain(self) -> bool:
        """No space merges classes."""
        return len(self.members) == self.classes

    @cached_property
    def rows(self) -> Tensor:
        """For each space and code the place in :attr:`members`, 0 where the code is none; int64 (spaces, 256)."""
        rows = torch.zeros(len(self.spaces), _CODES, dtype=torch.long)
        for row, space in zip(rows, self.spaces, strict=True):
            for code, members in enumerate(space.groups):
                row[code] = self.members.index(members)
        return rows

    @cached_property
    def possible(self) -> Tensor:
        """For each space and code the classes that may be there, all of them where nothing is known; bool (spaces, 256,
        classes).
        """
        possible = torch.ones(len(self.spaces), _CODES, self.classes, dtype=torch.bool)
        for row, space in zip(possible, self.spaces, strict=True):
            for code, members in enumerate(space.groups):
                row[code] = torch.isin(torch.arange(self.classes), torch.tensor(members))
        return possible

    @cached_property
    def relations(self) -> tuple["_Relations", ...]:
        """How the groups of each space lie to each other."""
        return tuple(_Relations.of(space, self) for space in self.spaces)

    def weights(self, class_weights: Sequence[float]) -> tuple[float, ...]:
        """The weight of each of :attr:`members`, from weights by class: a group's is the smallest of its classes', so
        that a rare class does not raise everything that it is merged with; () for ().
        """
        return tuple(min(class_weights[i] for i in members) for members in self.members) if class_weights else ()

    def index(self, labels_bhw: Tensor, spaces_b: Tensor) -> Tensor:
        """Each pixel's place in :attr:`members`, int64 (B, H, W); 0 where the label is ignored."""
        if self.plain:
            return torch.where(labels_bhw < self.classes, labels_bhw, 0).long()
        rows = self.rows.to(labels_bhw.device).flatten()
        return rows[labels_bhw.long() + _CODES * spaces_b[:, None, None].long()]

    def valid(self, labels_bhw: Tensor) -> Tensor:
        """Pixels that are not ignored, bool (B, H, W)."""
        return labels_bhw != self.spaces[0].taxonomy.ignore


@dataclass(frozen=True)
class _Relations:
    """Of the merged groups of a space, and of the classes to them."""

    merged: tuple[tuple[int, ...], ...]
    rows: list[int]
    """Of the merged groups in ``Groups.members``."""
    contains: NDArray[np.float32]
    """The classes of each merged group, float32 (merged, classes)."""
    within: NDArray[np.bool_]
    """Whether a code's group lies within a merged group and is not it, bool (merged, 256)."""
    unclear: NDArray[np.float32]
    """Whether pixels of merged group h leave open if merged group k is there, float32 (merged k, merged h)."""

    @classmethod
    def of(cls, space: LabelSpace, groups: Groups) -> "_Relations":
        sets = [set(members) for members in space.merged]
        within = np.zeros((len(sets), _CODES), np.bool_)
        for row, outer in zip(within, sets, strict=True):
            row[[code for code, members in enumerate(space.groups) if set(members) < outer]] = True
        contains = np.array([[i in s for i in range(groups.classes)] for s in sets], np.float32)
        unclear = np.array([[bool(k & h) and not h <= k for h in sets] for k in sets], np.float32)
        rows = [groups.members.index(members) for members in space.merged]
        return cls(space.merged, rows, contains, within, unclear)


def group_log_probabilities(logp_bchw: Tensor, labels_bhw: Tensor, groups: Groups, spaces_b: Tensor) -> Tensor:
    """The logarithm of the probability of each pixel's group, float (B, H, W): log-sum-exp over its classes.

    Args:
        logp_bchw: log-probabilities of the classes (``log_softmax``), float (B, C, H, W).
        labels_bhw: codes at the same size, uint8 (B, H, W). Where they are ignored the answer means nothing.
        groups: of the run.
        spaces_b: each picture's space, an index into ``groups.spaces``, int (B,).

    The gradient raises the classes of the group in proportion to what each has already, and lowers all others.
    """
    index = torch.where(labels_bhw < groups.classes, labels_bhw, 0).long()
    found = logp_bchw.gather(1, index[:, None])[:, 0]
    for relations, chosen in _merging(groups, spaces_b):
        logp, codes = _take(logp_bchw, chosen), _take(labels_bhw, chosen)
        part = _take(found, chosen)
        for number, members in enumerate(relations.merged):
            total = logp[:, list(members)].logsumexp(1)
            part = torch.where(codes == groups.classes + number, total, part)
        found = part if chosen is None else found.index_copy(0, chosen, part)
    return found


def dice_sums(
    logp_bchw: Tensor, found_bhw: Tensor, labels_bhw: Tensor, groups: Groups, spaces_b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What soft Dice is made of, over the whole batch, one number for each of ``groups.members``, float (K,) each:
    probability where the group is (overlap), pixels where it is (sizes), probability where that is known (predicted).
    Dice is 2 * overlap / (sizes + predicted); a group without pixels is not in the batch.

    Args:
        logp_bchw: log-probabilities of the classes, float (B, C, H, W).
        found_bhw: what :func:`group_log_probabilities` gives for the same batch.
        labels_bhw: codes, uint8 (B, H, W).
        groups: of the run.
        spaces_b: each picture's space, int (B,).

    Classes are summed once for the batch; one-hot maps are made of merged groups alone, of the pictures that have them.
    """
    valid, index = groups.valid(labels_bhw), groups.index(labels_bhw, spaces_b)
    count, device = len(groups.members), logp_bchw.device
    p_found = found_bhw.exp() * valid
    overlap = torch.zeros(count, device=device).scatter_add(0, index.flatten(), p_found.flatten())
    sizes = torch.zeros(count, device=device).scatter_add(0, index.flatten(), valid.flatten().float())
    p_bchw = logp_bchw.exp()
    predicted = torch.einsum("bchw,bhw->c", p_bchw, valid.float())
    if groups.plain:
        return overlap, sizes, predicted
    predicted = torch.cat([predicted, predicted.new_zeros(count - groups.classes)])
    for relations, chosen in _merging(groups, spaces_b):
        codes, p, known = _take(labels_bhw, chosen).long(), _take(p_bchw, chosen), _take(valid, chosen)
        number = len(relations.merged)
        exact = codes[:, None] == torch.arange(number, device=device)[:, None, None] + groups.classes
        within = torch.from_numpy(relations.within).to(device)[:, codes].transpose(0, 1)
        maps = torch.cat([exact, within, known[:, None]], 1).float()
        # (B, maps, HW) x (B, HW, C): the probability of each class where each map is set.
        mass = (maps.flatten(2) @ p.flatten(2).transpose(1, 2)).sum(0)
        at_exact, at_within, everywhere = mass[:number], mass[number : 2 * number], mass[-1]
        contains = torch.from_numpy(relations.contains).to(device)
        unclear = torch.from_numpy(relations.unclear).to(device)
        rows = torch.tensor(relations.rows, device=device)
        overlap = overlap.index_add(0, rows, (contains * at_within).sum(1))
        sizes = sizes.index_add(0, rows, maps[:, number : 2 * number].sum((0, 2, 3)))
        asked = contains @ everywhere - (contains * (unclear @ at_exact)).sum(1)
        predicted = predicted.index_add(0, rows, asked)
        # A class of a merged group is unclear wherever the group is all that is known.
        singles = torch.arange(groups.classes, device=device)
        predicted = predicted.index_add(0, singles, -(contains * at_exact).sum(0))
    return overlap, sizes, predicted


def _merging(groups: Groups, spaces_b: Tensor) -> Iterator[tuple[_Relations, Tensor | None]]:
    """The spaces in a batch that merge classes, each with its pictures' places, int64 (N,); None: all of them."""
    if groups.plain:
        return
    numbers = spaces_b.tolist()
    for number in sorted(set(numbers)):
        if groups.relations[number].merged:
            places = [place for place, each in enumerate(numbers) if each == number]
            alone = len(places) == len(numbers)
            yield groups.relations[number], None if alone else torch.tensor(places, device=spaces_b.device)


def _take(values: Tensor, chosen: Tensor | None) -> Tensor:
    return values if chosen is None else values.index_select(0, chosen)
