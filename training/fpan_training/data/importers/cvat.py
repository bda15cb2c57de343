"""CVAT's exports: "CVAT for images 1.1" (XML with polygons, boxes, ellipses and masks) and "Segmentation mask 1.1".

Either as the zip that CVAT gives or unpacked. Export with images, or name their folder.
"""

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from PIL import Image

from fpan_training.data.folder import IMAGE_ENDINGS, DataError
from fpan_training.data.importers import shapes
from fpan_training.data.importers.categories import Categories, Meaning, Uncovered
from fpan_training.data.importers.source import Item, find_picture, plain_name

_XML, _LABELMAP = "annotations.xml", "labelmap.txt"
_MASKS, _LISTS, _IMAGES = "SegmentationClass", "ImageSets/Segmentation", ("images", "JPEGImages")
_NO_SPLIT = "default"
"""CVAT's name for a task's pictures that are in no subset."""


class CvatImages:
    """CVAT for images 1.1."""

    def __init__(self, source: Path, images: Path | None, meaning: Meaning, uncovered: Uncovered) -> None:
        """Raises DataError for what is no such export and for labels that are no classes."""
        self._files = _Files(source)
        self._pictures = images
        content = source.read_bytes() if source.suffix.lower() == ".xml" else self._files.read(_XML)
        try:
            root = fromstring(content)
        except (ParseError, DefusedXmlException) as error:
            raise DataError(f"{source}: its XML is broken: {error}") from error
        if root.findtext("version") != "1.1" or root.find(".//track") is not None:
            raise DataError(f'{source} is not "CVAT for images 1.1": choose that when exporting')
        names = [str(image.get("name")) for image in root.iter("image")]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(f"{source} has several pictures called {', '.join(twice)}: export the tasks one by one")
        self._images = dict(zip(names, root.iter("image"), strict=True))
        asked = [str(name.text) for name in root.findall("./meta//labels/label/name")]
        drawn = [str(shape.get("label")) for image in root.iter("image") for shape in image if shape.tag != "tag"]
        self._categories = Categories(asked + drawn, meaning, uncovered)
        self.labels = self._categories.labels

    def keys(self) -> Sequence[str]:
        """Names of the pictures as CVAT knows them, in order."""
        return list(self._images)

    def read(self, key: str) -> Item:
        """A picture with its shapes painted from the lowest layer up."""
        image = self._images[key]
        try:
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            drawn = sorted((s for s in image if s.tag != "tag"), key=lambda shape: int(shape.get("z_order", "0")))
            labels = np.full(size, self._categories.uncovered, np.uint8)
            for shape in drawn:
                labels[_mask(shape, size)] = self._categories[str(shape.get("label"))]
        except (KeyError, ValueError) as error:
            raise DataError(f"a number is missing or broken: {error}") from error
        subset = image.get("subset")
        split = None if subset in (None, "", _NO_SPLIT) else str(subset).lower()
        return Item(plain_name(key), self._files.picture(key, self._pictures), labels, split)


def _mask(shape: Element, size: tuple[int, int]) -> shapes.Mask:
    values = shape.attrib
    if shape.tag == "polygon":
        ring = [float(v) for point in values["points"].split(";") for v in point.split(",")]
        return shapes.polygons([ring], size)
    if shape.tag == "mask":
        left, top, width, height = (round(float(values[name])) for name in ("left", "top", "width", "height"))
        return shapes.row_rle([int(v) for v in values["rle"].split(",")], (left, top, width, height), size)
    if shape.tag == "box" and float(values.get("rotation", 0)) == 0:
        x0, y0, x1, y1 = (float(values[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        return shapes.rectangle(x0, y0, x1, y1, size)
    if shape.tag == "ellipse" and float(values.get("rotation", 0)) == 0:
        cx, cy, rx, ry = (float(values[name]) for name in ("cx", "cy", "rx", "ry"))
        return shapes.ellipse((cx, cy), (rx, ry), size)
    raise DataError(f"a {shape.tag} ({values.get('label')}) cannot be read: draw a polygon or a mask")


class CvatMasks:
    """Segmentation mask 1.1: coloured PNGs, with the colours' meaning in ``labelmap.txt``."""

    def __init__(self, source: Path, images: Path | None, meaning: Meaning, uncovered: Uncovered) -> None:
        """Raises DataError for what is no such export and for labels that are no classes."""
        self._files = _Files(source)
        self._pictures = images
        colours = dict(_colours(self._files.read(_LABELMAP).decode("utf-8")))
        self._categories = Categories(colours.values(), meaning, uncovered)
        self.labels = self._categories.labels
        # What nobody painted is black: CVAT's background.
        values = {colour: self._categories[name] for colour, name in colours.items()}
        values[0] = self._categories.uncovered
        self._known = np.array(sorted(values), np.int64)
        self._values = np.array([values[int(colour)] for colour in self._known], np.uint8)
        self._masks = {
            PurePosixPath(name).relative_to(_MASKS).with_suffix("").as_posix(): name
            for name in self._files.names()
            if name.startswith(f"{_MASKS}/") and name.endswith(".png")
        }
        self._splits = dict(self._listed())

    def keys(self) -> Sequence[str]:
        """Names of the masks without their ending, in order."""
        return sorted(self._masks)

    def read(self, key: str) -> Item:
        """A picture with its mask, by the colours."""
        with Image.open(BytesIO(self._files.read(self._masks[key]))) as image:
            rgb = np.asarray(image.convert("RGB"), np.int64)
        packed = rgb @ np.array([65536, 256, 1])
        places = np.searchsorted(self._known, packed).clip(max=len(self._known) - 1)
        if (wrong := packed[self._known[places] != packed]).size:
            raise DataError(f"the colour #{int(wrong[0]):06x} is not in {_LABELMAP}")
        return Item(plain_name(key), self._picture(key), self._values[places], self._splits.get(key))

    def _picture(self, key: str) -> bytes:
        for ending in IMAGE_ENDINGS:
            try:
                return self._files.picture(f"{key}{ending}", self._pictures)
            except DataError:
                continue
        raise DataError(f"no picture {key}{{{','.join(IMAGE_ENDINGS)}}}: export with images, or name them: --images")

    def _listed(self) -> Iterator[tuple[str, str]]:
        for name in self._files.names():
            split = PurePosixPath(name).stem
            if name.startswith(f"{_LISTS}/") and split != _NO_SPLIT:
                yield from (
                    (line, split.lower()) for line in self._files.read(name).decode("utf-8").split("\n") if line
                )


def _colours(text: str) -> Iterator[tuple[int, str]]:
    """Lines ``name:r,g,b:parts:actions``; a ``#`` begins a comment."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            try:
                name, rgb, *_ = line.split(":")
                red, green, blue = (int(v) for v in rgb.split(","))
            except ValueError as error:
                raise DataError(f"{_LABELMAP} has the line {line!r}, which is not name:r,g,b::") from error
            yield (red * 256 + green) * 256 + blue, name


class _Files:
    """The files of a zip, or of the folder that a zip was unpacked to."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._root = source if source.is_dir() else source.parent
        self._zip: zipfile.ZipFile | None = None
        if source.suffix.lower() == ".zip":
            try:
                self._zip = zipfile.ZipFile(source)
            except (OSError, zipfile.BadZipFile) as error:
                raise DataError(f"{source} is no readable zip: {error}") from error

    def names(self) -> list[str]:
        """Paths with ``/``, in order."""
        if self._zip is not None:
            return sorted(name for name in self._zip.namelist() if not name.endswith("/"))
        return sorted(path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: there is none of this name.
        """
        try:
            return self._zip.read(name) if self._zip is not None else (self._root / name).read_bytes()
        except (KeyError, OSError) as error:
            raise DataError(f"{self._source} has no {name}: give CVAT's export, zipped or unpacked") from error

    def picture(self, name: str, folder: Path | None) -> bytes:
        """The content of a picture: from ``folder`` if that is given, else from the export."""
        if folder is None and self._zip is not None:
            within = set(self._zip.namelist())
            # A picture of a subset lies in a folder of the subset's name.
            for path in (f"{part}/{tail}" for part in _IMAGES for tail in (name, PurePosixPath(name).name)):
                if path in within:
                    return self._zip.read(path)
            inside = [p for p in within if p.startswith(_IMAGES) and p.endswith(f"/{name}")]
            if len(inside) == 1:
                return self._zip.read(inside[0])
        return find_picture(name, [folder if folder is not None else self._root])
