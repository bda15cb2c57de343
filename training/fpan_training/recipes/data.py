"""The data sets that recipes learn from: raw folders, made ready, or faces that nobody has."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fpan_training.data.folder import SPLIT_FILE, DataError, list_pictures
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, write_dataset_file
from fpan_training.data.merge import Merge
from fpan_training.data.split import Split
from fpan_training.data.subset import subset
from fpan_training.face3d.rendered import Render
from fpan_training.landmarks.align_folder import Align
from fpan_training.landmarks.build import LandmarkBuild, list_images
from fpan_training.occlusion.build import BuildOccluded
from fpan_training.recipes.context import Context
from fpan_training.taxonomy import TAXONOMY

FULL = ("celeba19", "celeba19_more")
"""Faces that lie aligned, with all 19 classes; merged into one data set."""
UNLABELLED = "celeba_unlabelled"
"""Faces that lie aligned, without labels."""
BACKGROUNDS, OCCLUDERS = "backgrounds", "occluders"
LICENCES = {
    "celeba": "non-commercial research",
    "figaro": "not stated",
    "facesynthetics100": "research",
    "fasseg_posed": "citation asked",
    UNLABELLED: "non-commercial research",
    BACKGROUNDS: "not stated",
    OCCLUDERS: "hands: not stated; objects: MIT",
}
"""Terms, as their publishers state them, of folders whose ``dataset.json`` does not say them, or is missing."""


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
    Wild("fasseg_posed", 1.2, 384, 0.03, "personne0[67]"),
)
"""What SEGM learns from beside the fully labelled faces."""
UNLABELLED_SHARE = 0.1
"""Of an epoch's pictures, for what learns from a teacher."""
RENDERED, RENDERED_SIDE = 24, 64
"""Pictures of the budget ``smoke`` and their side in pixels."""


@dataclass(frozen=True)
class TrainingSets:
    """Data sets that are ready to be trained on."""

    full: Path
    """Aligned faces with all 19 classes; its ``val`` is what is chosen on."""
    wild: tuple[Path, ...]
    """Aligned faces with partial labels, in frames of their own."""
    wild_shares: tuple[float, ...]
    """Of an epoch's pictures."""
    unlabelled: Path
    """Aligned faces of which nothing is known."""
    backgrounds: Path | None
    """Pictures that replace backgrounds."""
    occluders: Path | None
    """Cut-outs that are pasted over faces."""

    @classmethod
    def of(cls, context: Context) -> "TrainingSets":
        """Where a run has them; :func:`prepare` makes them."""
        folder, root = context.run / "data", context.data_root
        if root is None:
            return cls(folder / "full", (folder / "wild",), (0.2,), folder / "unlabelled", None, None)
        return cls(
            folder / "celeba",
            tuple(folder / wild.folder for wild in WILD),
            tuple(wild.share for wild in WILD),
            folder / UNLABELLED,
            root / BACKGROUNDS,
            root / OCCLUDERS,
        )

    @property
    def all(self) -> tuple[Path, ...]:
        """Those with pictures of faces."""
        return (self.full, *self.wild, self.unlabelled)


def prepare(context: Context) -> None:
    """Makes what is not there yet: merges and aligns raw folders, or renders faces where there are none.

    Raises:
        DataError: raw folders are missing; all of them are named.
    """
    sets, root = TrainingSets.of(context), context.data_root
    if root is None:
        for number, out in enumerate((sets.full, *sets.wild, sets.unlabelled)):
            Render(out, RENDERED, context.seed + number, RENDERED_SIDE)()
        for folder in sets.wild:
            write_dataset_file(folder / DATASET_FILE, DatasetFile(name="rendered", labels="facesynthetics100"))
        return
    require(root, (*FULL, *(wild.folder for wild in WILD), UNLABELLED, BACKGROUNDS, OCCLUDERS))
    Merge(tuple(root / name for name in FULL), sets.full)()
    for wild, out in zip(WILD, sets.wild, strict=True):
        if (out / DATASET_FILE).is_file():
            continue
        Align(root / wild.folder, out, wild.size, wild.frame)()
        if wild.val_pattern and not (out / SPLIT_FILE).is_file():
            Split(out, wild.val_pattern)()
    label_nothing(root / UNLABELLED, sets.unlabelled)


@dataclass(frozen=True)
class GateSets:
    """Faces that gates look at beside ``val``: the same ones, covered, and where they are turned."""

    covered: Path
    faces: Path
    """Landmarks and poses."""

    @classmethod
    def of(cls, context: Context) -> "GateSets":
        """Where a run has them; :meth:`make` makes them."""
        return cls(context.run / "data" / "val-covered", context.run / "data" / "val-faces")

    def make(self, context: Context) -> None:
        """Covers the validation pictures once with things of the validation split, and finds their landmarks."""
        sets = TrainingSets.of(context)
        val = subset(sets.full, context.run / "data" / "val", 0, context.seed)
        BuildOccluded(
            val,
            self.covered,
            occluders=sets.occluders,
            backgrounds=sets.backgrounds,
            variants=1,
            seed=context.seed,
        )()
        LandmarkBuild(val, self.faces)()


def label_nothing(pictures: Path, out: Path) -> None:
    """A data set of a folder of pictures, whose masks say nothing: what a teacher says is all there is to learn."""
    for path in list_images(pictures):
        image, mask = out / "images" / path.name, out / "masks" / f"{path.stem}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        mask.parent.mkdir(parents=True, exist_ok=True)
        if not image.is_symlink():
            image.symlink_to(path.resolve())
        if not mask.is_file():
            with Image.open(path) as picture:
                unknown = np.full((picture.height, picture.width), TAXONOMY.ignore, np.uint8)
            Image.fromarray(unknown).save(mask)
    write_dataset_file(out / DATASET_FILE, DatasetFile(name=pictures.name))


def require(root: Path, names: Iterable[str]) -> None:
    """Raises DataError that names the folders beneath a root that are missing or empty."""
    missing = [name for name in names if not (list_pictures(root / name) or any((root / name).glob("*")))]
    if missing:
        raise DataError(f"{root} lacks what the recipe learns from: {', '.join(missing)} (docs/training/recipes.md)")
