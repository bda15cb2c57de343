"""The raw folders that recipes learn from, and what is made of them before anything is trained."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fpan_training.data.folder import SPLIT_FILE, DataError, list_pictures
from fpan_training.data.merge import Merge
from fpan_training.data.split import Split
from fpan_training.landmarks.align_folder import Align

FULL = ("celeba19", "celeba19_more")
"""Faces that lie aligned, with all 19 classes; merged into one data set, :data:`MERGED`."""
MERGED = "celeba"
BACKGROUNDS, OCCLUDERS = "backgrounds", "occluders"


@dataclass(frozen=True)
class Wild:
    """A set of photos whose masks tell some classes apart; its faces are aligned before it is learnt from."""

    folder: str
    """Its name beneath the root of the raw data."""
    frame: float
    """Width of what is kept, in widths of the aligned face frame: as much as the photos show."""
    size: int
    """Side of what is kept in pixels: about the photos' own resolution."""
    share: float
    """Of an epoch's pictures."""
    val_pattern: str = ""
    """Of the names of its validation pictures, where it has no ``split.json``; empty: all are trained on."""


WILD = (
    Wild("ccp_wide", 2.0, 256, 0.12, "[05]$"),
    Wild("lfw_parts", 1.5, 192, 0.08),
    Wild("maskedface500", 1.5, 320, 0.06),
    Wild("figaro", 2.0, 320, 0.04),
    Wild("facesynthetics100", 1.5, 512, 0.03),
)
"""What SEGM learns from beside the fully labelled faces."""


@dataclass(frozen=True)
class Prepared:
    """The data sets of a run, ready to be trained on."""

    root: Path
    """Of the raw folders."""
    folder: Path
    """Of what is made of them."""

    @property
    def merged(self) -> Path:
        """The fully labelled faces; its ``val`` is what is chosen on."""
        return self.folder / MERGED

    @property
    def wild(self) -> tuple[str, ...]:
        """The aligned sets of :data:`WILD`."""
        return tuple(str(self.folder / wild.folder) for wild in WILD)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of an epoch's pictures, for each of :attr:`wild`."""
        return tuple(wild.share for wild in WILD)

    @property
    def backgrounds(self) -> Path:
        """Pictures that replace backgrounds."""
        return self.root / BACKGROUNDS

    @property
    def occluders(self) -> Path:
        """Cut-outs that are pasted over faces."""
        return self.root / OCCLUDERS

    def prepare(self) -> None:
        """Merges and aligns what is not there yet.

        Raises:
            DataError: raw folders are missing; all of them are named.
        """
        require(self.root, (*FULL, *(wild.folder for wild in WILD), BACKGROUNDS, OCCLUDERS))
        Merge(tuple(self.root / name for name in FULL), self.merged)()
        for wild in WILD:
            out = self.folder / wild.folder
            Align(self.root / wild.folder, out, wild.size, wild.frame)()
            if wild.val_pattern and not (out / SPLIT_FILE).is_file():
                Split(out, wild.val_pattern)()


def require(root: Path, names: Iterable[str]) -> None:
    """Raises DataError that names the folders beneath a root that are missing or empty."""
    missing = [name for name in names if not (list_pictures(root / name) or any((root / name).glob("*")))]
    if missing:
        raise DataError(f"{root} lacks what the recipe learns from: {', '.join(missing)} (docs/training/recipes.md)")
