"""CVAT's exports: "CVAT for images 1.1" (XML with polygons, boxes, ellipses and masks) and "Segmentation mask 1.1".

Either as the zip that CVAT gives or unpacked. Export with images, or name their folder.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from fpan_training.data.folder import DataError
from fpan_training.data.importers import shapes
from fpan_training.data.importers.categories import Categories, Meaning, Uncovered
from fpan_training.data.importers.files import ANY_ENDING, Files, Folder, Zip, find_picture
from fpan_training.data.importers.source import NO_SHAPES, Item, opened, plain_name, split_name

_XML, _LABELMAP = "annotations.xml", "labelmap.txt"
_MASKS, _LISTS = "SegmentationClass", "ImageSets/Segmentation"


class CvatImages:
    """CVAT for images 1.1."""

    def __init__(self, source: Path, images: Path | None, meaning: Meaning, uncovered: Uncovered) -> None:
        """Raises DataError for what is no such export. Labels that are no classes are ``problems``."""
        files = _files(source)
        self._places = [files if images is None else Folder(images)]
        content = source.read_bytes() if source.suffix.lower() == ".xml" else _export(files, _XML)
        try:
            root = fromstring(content)
        except (ParseError, DefusedXmlException) as error:
            raise DataError(f"{source}: its XML is broken: {error}") from error
        if root.findtext("version") != "1.1" or root.find(".//track") is not None:
            raise DataError(f'{source} is not "CVAT for images 1.1": choose that when exporting')
        elements = list(root.iter("image"))
        subsets_of = Counter(name for name, _ in {(_name(i), i.get("subset")) for i in elements})
        self._shared = {name for name, count in subsets_of.items() if count > 1}
        # Subsets of a project may have pictures of the same name.
        keys = [f"{i.get('subset')}/{_name(i)}" if _name(i) in self._shared else _name(i) for i in elements]
        self.problems = [
            f"{source} has several pictures called {key}: export the tasks one by one"
            for key, count in Counter(keys).items()
            if count > 1
        ]
        self._images = dict(zip(keys, elements, strict=True))
        asked = [str(name.text) for name in root.findall("./meta//labels/label/name")]
        drawn = [str(shape.get("label")) for image in root.iter("image") for shape in image if shape.tag != "tag"]
        self._categories = Categories(asked + drawn, meaning, uncovered)
        self.labels = self._categories.labels
        self.problems += self._categories.problems

    def keys(self) -> Sequence[str]:
        """Names of the pictures as CVAT knows them, in order."""
        return list(self._images)

    def read(self, key: str) -> Item:
        """A picture with its shapes painted from the lowest layer up."""
        image = self._images[key]
        try:
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            drawn = sorted((s for s in image if s.tag != "tag"), key=lambda shape: int(shape.get("z_order", "0")))
        except (KeyError, ValueError) as error:
            raise DataError(f"a number is missing or broken: {error}") from error
        labels, wrong = np.full(size, self._categories.uncovered, np.uint8), []
        for shape in drawn:
            label = str(shape.get("label"))
            try:
                labels[_mask(shape, size)] = self._categories[label]
            except (KeyError, ValueError) as error:
                wrong.append(f"a {shape.tag} ({label}): a number is missing or broken: {error}")
            except DataError as error:
                wrong.append(f"a {shape.tag} ({label}): {error}")
        if wrong:
            raise DataError("; ".join(wrong))
        name, subset = _name(image), image.get("subset", "")
        # Of a video's frames CVAT leaves out the ending.
        endings = ("",) if PurePosixPath(name).suffix else ("", *ANY_ENDING)
        picture = find_picture(name, self._places, subset, endings, name in self._shared)
        return Item(plain_name(key), picture, labels, split_name(subset), "" if drawn else NO_SHAPES)


def _name(image: Element) -> str:
    return str(image.get("name"))


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
    raise DataError("it cannot be read: draw a polygon or a mask")


class CvatMasks:
    """Segmentation mask 1.1: coloured PNGs, with the colours' meaning in ``labelmap.txt``."""

    def __init__(self, source: Path, images: Path | None, meaning: Meaning, uncovered: Uncovered) -> None:
        """Raises DataError for what is no such export. Labels that are no classes are ``problems``."""
        self._files = _files(source)
        self._places = [self._files if images is None else Folder(images)]
        colours = dict(_colours(_export(self._files, _LABELMAP).decode("utf-8-sig")))
        self._categories = Categories(colours.values(), meaning, uncovered)
        self.labels = self._categories.labels
        self.problems = list(self._categories.problems)
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
        self._splits: dict[str, str | None] = {}
        for name, split in self._listed():
            if self._splits.setdefault(name, split) != split:
                # CVAT writes them to one file.
                self.problems.append(f"{name} is in several lists of {_LISTS}: give pictures of subsets other names")

    def keys(self) -> Sequence[str]:
        """Names of the masks without their ending, in order."""
        return sorted(self._masks)

    def read(self, key: str) -> Item:
        """A picture with its mask, by the colours."""
        with opened(self._files.read(self._masks[key]), self._masks[key]) as image:
            rgb = np.asarray(image.convert("RGB"), np.int64)
        packed = rgb @ np.array([65536, 256, 1])
        places = np.searchsorted(self._known, packed).clip(max=len(self._known) - 1)
        if (wrong := packed[self._known[places] != packed]).size:
            raise DataError(f"the colour #{int(wrong[0]):06x} is not in {_LABELMAP}")
        picture = find_picture(key, self._places, endings=ANY_ENDING)
        return Item(plain_name(f"{key}.png"), picture, self._values[places], self._splits.get(key))

    def _listed(self) -> Iterator[tuple[str, str | None]]:
        for name in self._files.names():
            if name.startswith(f"{_LISTS}/"):
                split = split_name(PurePosixPath(name).stem)
                lines = self._files.read(name).decode("utf-8-sig").splitlines()
                yield from ((line.strip(), split) for line in lines if line.strip())


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


def _files(source: Path) -> Files:
    """Those of a zip, or of the folder that a zip was unpacked to."""
    if source.suffix.lower() == ".zip":
        return Zip(source)
    return Folder(source if source.is_dir() else source.parent)


def _export(files: Files, name: str) -> bytes:
    if not files.has(name):
        raise DataError(f"{files} has no {name}: give CVAT's export, zipped or unpacked")
    return files.read(name)
