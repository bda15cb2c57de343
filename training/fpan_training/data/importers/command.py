"""`fpan-train import`: another form of data set to the project's own."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import RootModel

from fpan_training.data.folder import DataError
from fpan_training.data.importers.categories import Meaning, Uncovered
from fpan_training.data.importers.celebamask import CelebAMask
from fpan_training.data.importers.coco import Coco
from fpan_training.data.importers.cvat import CvatImages, CvatMasks
from fpan_training.data.importers.easyportrait import EasyPortrait
from fpan_training.data.importers.helen import Helen
from fpan_training.data.importers.labelme import LabelMe
from fpan_training.data.importers.lapa import LaPa
from fpan_training.data.importers.source import Source, parse_json
from fpan_training.data.importers.writer import Written, write_dataset
from fpan_training.data.label_space import DatasetFile

Kind = Literal["celebamask-hq", "lapa", "helen", "easyportrait", "coco", "labelme", "cvat", "cvat-mask"]
KINDS: dict[Kind, Callable[[Path, Path | None, Meaning, Uncovered], Source]] = {
    "celebamask-hq": lambda source, *_: CelebAMask(source),
    "lapa": lambda source, *_: LaPa(source),
    "helen": lambda source, *_: Helen(source),
    "easyportrait": lambda source, *_: EasyPortrait(source),
    "coco": Coco,
    "labelme": LabelMe,
    "cvat": CvatImages,
    "cvat-mask": CvatMasks,
}
_OF_TOOLS: tuple[Kind, ...] = ("coco", "labelme", "cvat", "cvat-mask")


class _MeaningFile(RootModel[dict[str, str | list[str]]]):
    """The file of ``--classes``."""


@dataclass(frozen=True)
class Import:
    """Brings a published data set, or what a labelling tool exported, into a folder to train on: images/, masks/,
    split.json and dataset.json.

    Kinds: celebamask-hq, lapa, helen and easyportrait as they are published; coco (a JSON file, or a folder of one for
    each split); labelme (a folder of JSON files); cvat ("CVAT for images 1.1", zip, folder or XML); cvat-mask
    ("Segmentation mask 1.1", zip or folder).
    """

    kind: Kind
    """What the source is."""
    source: Path
    """File or folder that is imported; it is not changed."""
    out: Path
    """Folder that is made."""
    images: Path | None = None
    """Where the pictures of a labelling tool's file lie, if not beside it."""
    classes: Path | None = None
    """JSON file that says which of our classes a tool's categories are: {"face": ["skin", "nose"], "sky": "ignore"}.
    Categories with the name of a class need none."""
    uncovered: Uncovered = "rest"
    """What a labelling tool's picture shows where no shape is: any class that no category names (rest), or nothing is
    known (ignore), where pictures were labelled in part only."""
    val_share: float = 0.1
    """Share of the pictures that goes to val where the source has no splits."""
    name: str = ""
    """Of the data set, for people; the kind if left out."""
    licence: str = ""
    """Its terms, for dataset.json."""
    threads: int = os.cpu_count() or 1
    """Pictures that are read at once."""

    def __call__(self) -> Written:
        """Imports and says what was made.

        Raises:
            DataError: something is wrong; all of it is listed.
        """
        if self.kind not in _OF_TOOLS and (self.images or self.classes or self.uncovered != "rest"):
            raise DataError(f"--images, --classes and --uncovered are for {', '.join(_OF_TOOLS)}, not for {self.kind}")
        if not self.source.exists():
            raise DataError(f"{self.source} does not exist")
        meaning: Meaning = {} if self.classes is None else parse_json(_MeaningFile, self.classes).root
        source = KINDS[self.kind](self.source, self.images, meaning, self.uncovered)
        about = DatasetFile(name=self.name or self.kind, source=self.source.name, licence=self.licence)
        written = write_dataset(source, self.out, about, self.val_share, self.threads)
        print(f"{self.out}: {written}")
        return written
