"""Encodes pictures for requests; decodes label maps, outlines, soft masks and arrays of responses."""

import base64
import io
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpan.client.errors import UnexpectedAnswer
from fpan.rle import decode

Picture = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO | NDArray[np.uint8] | Image.Image
"""A file's bytes or path, an open binary file, RGB or grey pixels uint8 (H, W[, 3 or 4]), or a Pillow picture."""


def picture_bytes(picture: Picture) -> bytes:
    """The bytes to send. Files are sent unchanged; pixels are sent as PNG, which is lossless.

    Raises:
        OSError: the file cannot be read.
        TypeError: the argument is not a picture.
        ValueError: the pixels have another shape or dtype.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return Path(picture).read_bytes()
    if isinstance(picture, np.ndarray):
        if (
            picture.dtype != np.uint8
            or picture.ndim not in (2, 3)
            or (picture.ndim == 3 and picture.shape[2] not in (3, 4))
        ):
            raise ValueError(
                f"pixels must be uint8 (H, W), (H, W, 3) or (H, W, 4), not {picture.dtype} {picture.shape}"
            )
        picture = Image.fromarray(picture)
    if isinstance(picture, Image.Image):
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1, exif=picture.getexif())
        return file.getvalue()
    if hasattr(picture, "read"):
        data = picture.read()
        if isinstance(data, bytes):
            return data
    raise TypeError(f"no picture: {type(picture).__name__}")


def grey_png(data: bytes) -> NDArray[np.uint8]:
    """The pixels of an 8-bit grey PNG, uint8 (H, W)."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("L"))


def indexed_png(data: bytes) -> NDArray[np.uint8]:
    """The palette indices of an 8-bit indexed PNG, uint8 (H, W).

    Raises:
        OSError: the data is not a PNG.
        ValueError: the PNG has no palette.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if image.mode != "P":
            raise ValueError(f"a picture of mode {image.mode} has no indices")
        return np.asarray(image)


Ring = NDArray[np.int64]
"""Corners (x, y), int (N, 2), the first not repeated. Pixel (x, y) is the square from (x, y) to (x + 1, y + 1)."""


@dataclass(frozen=True)
class Polygon:
    """One region of a class."""

    outline: Ring
    holes: tuple[Ring, ...]


@dataclass(frozen=True)
class SoftMasks:
    """The soft masks of one face, each encoded as a PNG of its own window."""

    height: int
    width: int
    classes: tuple[tuple[str, tuple[int, int, int, int], bytes], ...] = field(repr=False)
    """For each class: name, window (x0, y0, x1, y1), PNG."""

    def of(self, name: str) -> NDArray[np.uint8]:
        """How much of each pixel the class covers, uint8 (height, width): 255 is all of it, 0 none.

        Raises:
            UnexpectedAnswer: the PNG cannot be read, or does not fit its window.
        """
        values = np.zeros((self.height, self.width), np.uint8)
        for known, (x0, y0, x1, y1), data in self.classes:
            if known == name:
                try:
                    values[y0:y1, x0:x1] = grey_png(data).reshape(y1 - y0, x1 - x0)
                except (OSError, ValueError) as error:
                    raise UnexpectedAnswer(f"the server's soft mask of {name} cannot be decoded: {error}") from error
        return values


def read_polygons(body: Mapping[str, Any] | None) -> dict[str, tuple[Polygon, ...]] | None:
    """Reads the JSON member ``polygons``: class name -> polygons; None if ``body`` is None."""
    if body is None:
        return None
    return {
        str(one["name"]): tuple(
            Polygon(_ring(each["outline"]), tuple(_ring(hole) for hole in each["holes"])) for each in one["polygons"]
        )
        for one in body["classes"]
    }


def read_soft(body: Mapping[str, Any] | None) -> SoftMasks | None:
    """Reads the JSON member ``alpha`` of a face; None if ``body`` is None."""
    if body is None:
        return None
    height, width = (int(side) for side in body["size"])
    classes = []
    for one in body["classes"]:
        x0, y0, x1, y1 = (int(number) for number in one["window"])
        classes.append((str(one["name"]), (x0, y0, x1, y1), base64.b64decode(one["data"], validate=True)))
    return SoftMasks(height, width, tuple(classes))


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz``.

    Raises:
        UnexpectedAnswer: the data is not an ``.npz`` file.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zlib.error, zipfile.BadZipFile) as error:
        raise UnexpectedAnswer(f"the server's arrays cannot be read: {error}") from error


def _ring(corners: Sequence[Sequence[int]]) -> Ring:
    return np.asarray(corners, np.int64).reshape(-1, 2)


ENCODING = "coco_rle"
_BROKEN = "the server's label map cannot be decoded"


@dataclass(frozen=True)
class Mask(ABC):
    """One encoded label map."""

    height: int
    width: int

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The class of each pixel, uint8 (height, width), read-only; 0 for pixels without a class.

        Raises:
            UnexpectedAnswer: the encoding is invalid or does not match the size.
        """
        labels = np.zeros((self.height, self.width), np.uint8)
        self._decode_into(labels)
        labels.flags.writeable = False
        return labels

    @abstractmethod
    def of(self, name: str) -> NDArray[np.bool_]:
        """The pixels of the class ``name``, bool (height, width); all False if the class does not occur."""

    @abstractmethod
    def _decode_into(self, labels: NDArray[np.uint8]) -> None: ...


@dataclass(frozen=True)
class RunLengthMask(Mask):
    """A label map as run lengths of each class, as HTTP responses have it."""

    classes: tuple[tuple[int, str, str], ...]
    """For each class that occurs: id, name, run lengths."""

    def of(self, name: str) -> NDArray[np.bool_]:
        """See :meth:`Mask.of`."""
        for _, known, counts in self.classes:
            if known == name:
                return self._decode(counts)
        return np.zeros((self.height, self.width), np.bool_)

    def _decode_into(self, labels: NDArray[np.uint8]) -> None:
        for number, _, counts in self.classes:
            labels[self._decode(counts)] = number

    def _decode(self, counts: str) -> NDArray[np.bool_]:
        try:
            return decode(counts, (self.height, self.width))
        except ValueError as error:
            raise UnexpectedAnswer(f"{_BROKEN}: {error}") from error


@dataclass(frozen=True)
class IndexedMask(Mask):
    """A label map as a PNG whose palette index is the class id, as gRPC responses have it."""

    ids: Mapping[str, int]
    """Name -> id, of the classes that occur."""
    window: tuple[int, int, int, int]
    """The part that the PNG covers: x0, y0, x1, y1 in pixels. Pixels outside it have no class."""
    png: bytes = field(repr=False)

    def of(self, name: str) -> NDArray[np.bool_]:
        """See :meth:`Mask.of`."""
        if name not in self.ids:
            return np.zeros((self.height, self.width), np.bool_)
        found: NDArray[np.bool_] = self.labels == self.ids[name]
        return found

    def _decode_into(self, labels: NDArray[np.uint8]) -> None:
        known = np.zeros(256, np.uint8)
        known[list(self.ids.values())] = list(self.ids.values())
        x0, y0, x1, y1 = self.window
        try:
            labels[y0:y1, x0:x1] = known[indexed_png(self.png).reshape(y1 - y0, x1 - x0)]
        except (OSError, ValueError) as error:
            raise UnexpectedAnswer(f"{_BROKEN}: {error}") from error


NO_MASK = RunLengthMask(0, 0, ())
"""Stands for the label map of all faces when there is none, because each face has its own frame."""


def read_mask(body: Mapping[str, Any], height: int, width: int) -> Mask:
    """Reads the JSON member ``mask`` of a picture of that size in pixels.

    Raises:
        UnexpectedAnswer: the mask has another encoding or another size.
    """
    if body["encoding"] != ENCODING or list(body["size"]) != [height, width]:
        raise UnexpectedAnswer(
            f"the server answered with a mask of {body['encoding']} and {body['size']}, not the photo's"
        )
    return RunLengthMask(
        height, width, tuple((int(c["id"]), str(c["name"]), str(c["counts"])) for c in body["classes"])
    )
