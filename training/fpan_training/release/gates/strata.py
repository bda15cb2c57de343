"""Which pictures show occluded and turned faces: the strata that a mean over all pictures hides."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fpan_training.data.folder import FaceFolder
from fpan_training.data.label_space import LabelSpace
from fpan_training.evaluate.grouped import Grouping
from fpan_training.evaluate.strata import occluded_share, yaw_of
from fpan_training.evaluate.test_set import TestSet, hidden_shares
from fpan_training.landmarks.store import FaceStore
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

TEST_SPLIT = "val"


class TooFew(Exception):
    """No figure can be made of so few pictures."""


@dataclass(frozen=True)
class Strata:
    """Where occluded and turned faces are, and what counts as such."""

    occluded: Path | None = None
    """Labelled faces that things cover, as `fpan-train build-occluded` writes them: those of ``val`` are measured.
    Without it, the pictures of ``val`` whose labels mark an occluding object."""
    posed: Path | None = None
    """Labelled faces whose names tell their yaw (``..._yaw-45``), as `fpan-train pose-augment` writes them. Without it,
    the turned ones of ``val``, if ``faces`` knows them."""
    faces: Path | None = None
    """Landmarks and poses of the pictures of ``val`` (`fpan-train landmarks`)."""
    least_share: float = 0.05
    """Share of a face that is hidden, from which on it counts as occluded."""
    least_yaw_deg: float = 20.0
    """Yaw to either side from which on a face counts as turned, in degrees."""

    def of_occluded(self, val: TestSet, least: int) -> TestSet:
        """The occluded faces, of which there must be ``least``.

        Raises:
            TooFew: there are too few; the message says what to name.
            DataError: the folder that is named cannot be read.
        """
        if self.occluded is not None:
            test = open_set("occluded faces", self.occluded, len(TAXONOMY))
        else:
            # Here the occluding object counts, which figures over all of ``val`` leave out.
            classes = val.classes if val.grouping is not None else len(TAXONOMY)
            test = replace(val, name="occluded faces", classes=classes)
        chosen = [i for i in range(len(test.folder)) if _share(test, i) >= self.least_share]
        return self._of(test, chosen, least, self.occluded, "--gates.strata.occluded")

    def of_turned(self, val: TestSet, least: int) -> TestSet:
        """The turned faces, of which there must be ``least``.

        Raises:
            TooFew: there are too few; the message says what to name.
            DataError: the folder that is named cannot be read.
        """
        test = replace(val, name="turned faces")
        if self.posed is not None:
            test = open_set("turned faces", self.posed, CELEBA19_CLASSES)
        store = None if self.faces is None else FaceStore(self.faces)
        chosen = [i for i, name in enumerate(test.folder.names) if _yaw(name, store) >= self.least_yaw_deg]
        return self._of(test, chosen, least, self.posed or self.faces, "--gates.strata.posed or --gates.strata.faces")

    def _of(self, test: TestSet, chosen: list[int], least: int, given: Path | None, option: str) -> TestSet:
        folder = test.folder
        if len(chosen) < least:
            raise TooFew(
                f"not measured: {f'no {option} given, and ' if given is None else ''}{len(chosen)} of {len(folder)} "
                f"pictures of {folder.root.name} are known to show {test.name}, less than {least} "
                "(--gates.min-pictures)"
            )
        return replace(test, folder=folder.only(chosen))


def open_set(name: str, root: Path, classes: int, split: str = TEST_SPLIT) -> TestSet:
    """A split of a folder of labelled faces.

    Args:
        name: for people.
        root: its folder.
        classes: how many its masks tell apart, where each value is a class; else their label space says.
        split: which of its splits.

    Raises:
        DataError: it cannot be read.
    """
    space = LabelSpace.of_folder(root)
    grouping = None if space.plain else Grouping(space)
    count = classes if grouping is None else len(grouping)
    return TestSet(name, FaceFolder.open(root, split), count, grouping, hidden_shares(root))


def _share(test: TestSet, index: int) -> float:
    """How much of a face is hidden; NaN where nothing tells."""
    if test.hidden is not None:
        return test.hidden[test.folder.names[index]]
    return float("nan") if test.grouping is not None else occluded_share(test.folder.labels(index), TAXONOMY)


def _yaw(name: str, store: FaceStore | None) -> float:
    """Degrees to either side; NaN where nothing tells."""
    told = yaw_of(name)
    if np.isnan(told) and store is not None and (record := store.get(name)) is not None:
        return abs(float(record.angles[0]))
    return told
