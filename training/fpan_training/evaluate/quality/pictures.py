"""Labelled pictures that rows of the table of quality are measured on, and how they are told apart."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from fpan.contract import Taxonomy
from numpy.typing import NDArray

from fpan_training.data.folder import FaceFolder, Sample
from fpan_training.data.label_space import LabelSpace
from fpan_training.engine.plots import contact_sheet, labelled
from fpan_training.engine.progress import track
from fpan_training.evaluate.quality.results import Figure, RowResult

_SHEET, _SHEET_SIDE = 12, 256
"""Pictures of a contact sheet, and their side in pixels."""


@dataclass(frozen=True)
class PictureSet:
    """Splits of one folder or several, one after the other, as one."""

    folders: tuple[FaceFolder, ...]

    @classmethod
    def open(cls, split: str, *roots: Path) -> "PictureSet":
        """Opens a split of each folder.

        Raises:
            DataError: one of them cannot be read.
        """
        return cls(tuple(FaceFolder.open(root, split) for root in roots))

    @cached_property
    def _where(self) -> tuple[tuple[FaceFolder, int], ...]:
        return tuple((folder, i) for folder in self.folders for i in range(len(folder)))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures."""
        return tuple(name for folder in self.folders for name in folder.names)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of their files."""
        return tuple(path for folder in self.folders for path in folder.paths)

    @property
    def space(self) -> LabelSpace:
        """What the masks say, which is the same in all folders."""
        return LabelSpace.of_folder(self.folders[0].root)

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: int) -> Sample:
        folder, i = self._where[index]
        return folder[i]

    def __iter__(self) -> Iterator[Sample]:
        return (folder[i] for folder, i in self._where)

    def only(self, chosen: Callable[[str], bool]) -> "PictureSet":
        """Those whose name is chosen."""
        return PictureSet(
            tuple(folder.only(i for i, name in enumerate(folder.names) if chosen(name)) for folder in self.folders)
        )

    def tracked(self, title: str) -> Iterator[Sample]:
        """One after the other, with a progress bar."""
        return track(iter(self), title, len(self))

    def result(self, definition: int, figures: dict[str, Figure]) -> RowResult:
        """A row that was measured on all of them."""
        return RowResult(definition=definition, pictures=len(self), digest=self.digest, figures=figures)

    @property
    def digest(self) -> str:
        """sha256 of all names, pictures and masks, as they lie in their files."""
        found = hashlib.sha256()
        for folder in self.folders:
            for name, path in zip(folder.names, folder.paths, strict=True):
                for data in (name.encode(), path.read_bytes(), (folder.root / "masks" / f"{name}.png").read_bytes()):
                    found.update(len(data).to_bytes(8, "big") + data)
        return found.hexdigest()


def draw_sheet(
    path: Path,
    pictures: PictureSet,
    errors: Sequence[float],
    label: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    taxonomy: Taxonomy,
) -> None:
    """Draws the pictures with the largest errors: each with its truth and with what is said of it.

    Where the masks merge classes, a group is shown as its first one.
    """
    space, shown = pictures.space, []
    table = np.full(256, taxonomy.background, np.uint8)
    for value, members in space.declared:
        table[value] = members[0]
    for i in _largest(errors, _SHEET):
        sample = pictures[i]
        maps = (sample.image, table[sample.labels], label(sample.image))
        picture, truth, said = (_square(each) for each in maps)
        shown.append(labelled(picture, truth, said, taxonomy=taxonomy))
    if shown:
        contact_sheet(shown, path)


def _largest(values: Iterable[float], count: int) -> list[int]:
    return [int(i) for i in np.argsort(-np.asarray(list(values)), kind="stable")[:count]]


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Letterboxed to the sheet's side; label maps are not interpolated."""
    height, width = picture.shape[:2]
    scale = _SHEET_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    out = np.zeros((_SHEET_SIDE, _SHEET_SIDE, *picture.shape[2:]), np.uint8)
    how = cv2.INTER_NEAREST_EXACT if picture.ndim == 2 else cv2.INTER_AREA
    out[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=how)
    return out
