"""LabelMe's JSON, one file a picture: polygons, boxes, circles and masks, painted in the order in which they stand.

Holes are shapes of what is in them, painted later. LabelMe lists no classes: those that no shape of any file has are
told by the key ``classes`` that `fpan parse` writes and LabelMe keeps, or they count as not told from the background.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fpan_training.data.folder import DataError
from fpan_training.data.importers import shapes
from fpan_training.data.importers.categories import Categories, Meaning, Uncovered
from fpan_training.data.importers.files import Folder, find_picture, is_hidden
from fpan_training.data.importers.source import NO_SHAPES, Item, opened, parse_all, plain_name


class Shape(BaseModel):
    """One shape."""

    label: str
    points: list[tuple[float, float]]
    shape_type: str = "polygon"
    mask: str | None = None
    """Of shape type ``mask``: a PNG in base64, of the box that the points span, both ends included."""


class LabelMeFile(BaseModel):
    """What is read of a file; other keys may be there."""

    model_config = ConfigDict(populate_by_name=True)

    shapes: list[Shape]
    image_path: str = Field(alias="imagePath")
    image_data: str | None = Field(None, alias="imageData")
    height: int = Field(alias="imageHeight")
    width: int = Field(alias="imageWidth")
    classes: list[str] = []
    """Every class that was asked for, whether it is there or not."""


class LabelMe:
    """A folder of files, with all below it."""

    def __init__(self, source: Path, images: Path | None, meaning: Meaning, uncovered: Uncovered) -> None:
        """Raises DataError if there are no files. Those of another form, and labels of no class, are ``problems``."""
        paths = [source] if source.is_file() else sorted(p for p in source.rglob("*.json") if not is_hidden(p.name))
        if not paths:
            raise DataError(f"{source} has no JSON files")
        self._root = source.parent if source.is_file() else source
        self._pictures = None if images is None else Folder(images)
        self._beside = {path.parent: Folder(path.parent) for path in paths}
        self._beside[self._root] = Folder(self._root)
        files, wrong = parse_all(LabelMeFile, paths)
        self._files = {path.relative_to(self._root).as_posix(): file for path, file in files.items()}
        asked = [name for file in self._files.values() for name in file.classes]
        drawn = [shape.label for file in self._files.values() for shape in file.shapes]
        self._categories = Categories(asked + drawn, meaning, uncovered)
        self.labels = self._categories.labels
        self.problems = wrong + self._categories.problems

    def keys(self) -> Sequence[str]:
        """Paths of the JSON files, in order."""
        return list(self._files)

    def read(self, key: str) -> Item:
        """A picture with its shapes painted."""
        file = self._files[key]
        size = (file.height, file.width)
        labels = np.full(size, self._categories.uncovered, np.uint8)
        wrong = []
        for number, shape in enumerate(file.shapes):
            try:
                labels[_mask(shape, size)] = self._categories[shape.label]
            except DataError as error:
                wrong.append(f"shape {number} ({shape.label}): {error}")
        if wrong:
            raise DataError("; ".join(wrong))
        # By the file's own path, as LabelMe goes by it: the picture may lie anywhere.
        return Item(plain_name(key), self._image(key, file), labels, note="" if file.shapes else NO_SHAPES)

    def _image(self, key: str, file: LabelMeFile) -> bytes:
        if file.image_data:
            try:
                return base64.b64decode(file.image_data, validate=True)
            except binascii.Error as error:
                raise DataError(f"imageData is broken: {error}") from error
        if self._pictures is not None:
            return find_picture(file.image_path, [self._pictures])
        return find_picture(file.image_path, [self._beside[(self._root / key).parent], self._beside[self._root]])


def _mask(shape: Shape, size: tuple[int, int]) -> shapes.Mask:
    points, kind = shape.points, shape.shape_type
    wanted = {"rectangle": 2, "circle": 2, "mask": 2}.get(kind, 3)
    if len(points) < wanted:
        raise DataError(f"a {kind} of {len(points)} points")
    if kind == "polygon":
        return shapes.polygons([[v for point in points for v in point]], size)
    if kind == "rectangle":
        return shapes.rectangle(*points[0], *points[1], size)
    if kind == "circle":
        radius = float(np.hypot(*np.subtract(points[1], points[0])))
        return shapes.ellipse(points[0], (radius, radius), size)
    if kind == "mask" and shape.mask:
        try:
            content = base64.b64decode(shape.mask, validate=True)
        except binascii.Error as error:
            raise DataError(f"its mask is broken: {error}") from error
        with opened(content, "its mask") as image:
            inside = np.asarray(image.convert("L"), np.uint8) > 0
        return shapes.place(inside, round(points[0][0]), round(points[0][1]), size)
    raise DataError(f"a {kind} covers no pixels: draw a polygon")
