"""COCO's JSON: polygons, run lengths compressed or not; later annotations are painted over earlier ones."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from fpan_training.data.folder import DataError
from fpan_training.data.importers import shapes
from fpan_training.data.importers.categories import Categories, Meaning, Uncovered
from fpan_training.data.importers.files import Folder, find_picture, is_hidden
from fpan_training.data.importers.source import NO_SHAPES, SPLITS, Item, parse_all, plain_name, split_name

_ANNOTATIONS = "annotations"
_INSTANCES = "instances_"
"""How COCO and CVAT begin the name of a file; the subset follows."""


class Rle(BaseModel):
    """A mask by its run lengths."""

    size: tuple[int, int]
    counts: str | list[int]


class Annotation(BaseModel):
    """One object."""

    id: int
    image_id: int
    category_id: int
    segmentation: Rle | list[list[float]] = []


class ImageEntry(BaseModel):
    """One picture."""

    id: int
    file_name: str
    width: int
    height: int


class Category(BaseModel):
    """One class."""

    id: int
    name: str


class CocoFile(BaseModel):
    """What is read of the file; other keys may be there."""

    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]


class Coco:
    """One JSON file; or a folder of them (or its ``annotations/``), each of which is a split."""

    def __init__(self, source: Path, images: Path | None, meaning: Meaning, uncovered: Uncovered) -> None:
        """Raises DataError if there are no files. Those of another form, categories of no class, and annotations of no
        image are ``problems``.
        """
        files = [source] if source.is_file() else _listed(source) or _listed(source / _ANNOTATIONS)
        if not files:
            raise DataError(f"{source} has no JSON file, nor has its annotations/")
        root = source.parent if source.is_file() else source
        # What lies beside the source is another matter, unless the source is a folder within the data set.
        above = Folder(root.parent, looked_through=root.name == _ANNOTATIONS)
        self._places = [Folder(root), above] if images is None else [Folder(images)]
        read, self.problems = parse_all(CocoFile, files)
        self._names = {(path, c.id): c.name for path, content in read.items() for c in content.categories}
        self._categories = Categories(self._names.values(), meaning, uncovered)
        self.labels = self._categories.labels
        self.problems += self._categories.problems
        self._entries: dict[str, tuple[Path, ImageEntry, list[Annotation]]] = {}
        self._split = {path: _split_of(path) if source.is_dir() else None for path in files}
        files_of = Counter(name for content in read.values() for name in {entry.file_name for entry in content.images})
        self._shared = {name for name, count in files_of.items() if count > 1}
        for path, content in read.items():
            self.problems += [f"{path}: {problem}" for problem in _inconsistent(content)]
            of_image: dict[int, list[Annotation]] = {entry.id: [] for entry in content.images}
            for annotation in sorted(content.annotations, key=lambda a: a.id):
                of_image.get(annotation.image_id, []).append(annotation)
            for entry in content.images:
                self._entries[f"{path.name}: {entry.file_name}"] = (path, entry, of_image[entry.id])

    def keys(self) -> Sequence[str]:
        """File and picture, in order."""
        return list(self._entries)

    def read(self, key: str) -> Item:
        """A picture with its annotations painted in the order of their ids."""
        path, entry, annotations = self._entries[key]
        size = (entry.height, entry.width)
        labels = np.full(size, self._categories.uncovered, np.uint8)
        wrong = []
        for annotation in annotations:
            name = self._names.get((path, annotation.category_id))
            if name is None:
                wrong.append(f"annotation {annotation.id} is of category {annotation.category_id}: there is none")
                continue
            try:
                labels[_mask(annotation, size)] = self._categories[name]
            except DataError as error:
                wrong.append(f"annotation {annotation.id} ({name}): {error}")
        if wrong:
            raise DataError("; ".join(wrong))
        subset, shared = _subset(path), entry.file_name in self._shared
        image = find_picture(entry.file_name, self._places, subset, shared=shared)
        # Subsets may have pictures of the same name.
        name = f"{subset}/{entry.file_name}" if shared else entry.file_name
        return Item(plain_name(name), image, labels, self._split[path], "" if annotations else NO_SHAPES)


def _mask(annotation: Annotation, size: tuple[int, int]) -> shapes.Mask:
    drawn = annotation.segmentation
    if isinstance(drawn, Rle):
        if drawn.size != size:
            raise DataError(f"its run lengths are of {drawn.size}, the picture is {size} (height, width)")
        return shapes.coco_rle(drawn.counts, size)
    if not drawn:
        raise DataError("it is a box without a segmentation")
    return shapes.polygons(drawn, size)


def _inconsistent(content: CocoFile) -> Iterator[str]:
    ids = {entry.id for entry in content.images}
    for annotation in content.annotations:
        if annotation.image_id not in ids:
            yield f"annotation {annotation.id} is of an image that is not there: {annotation.image_id}"
    for what, values in (
        ("images of the id", [entry.id for entry in content.images]),
        ("images called", [entry.file_name for entry in content.images]),
        ("categories of the id", [category.id for category in content.categories]),
    ):
        yield from (f"there are {count} {what} {value}" for value, count in Counter(values).items() if count > 1)


def _listed(folder: Path) -> list[Path]:
    """The JSON files of a folder: where some are of instances, as COCO and CVAT name them, only those."""
    paths = sorted(path for path in folder.glob("*.json") if not is_hidden(path.name))
    return [path for path in paths if path.name.startswith(_INSTANCES)] or paths


def _subset(path: Path) -> str:
    """The tool's name for the pictures of a file, which their folder has as well: ``train2017``."""
    return path.stem.removeprefix(_INSTANCES).removeprefix("annotations_")


def _split_of(path: Path) -> str | None:
    split = split_name(_subset(path))
    # Only tools name a file for the subset; people name it for anything.
    return split if path.name.startswith(_INSTANCES) or split in SPLITS else None
