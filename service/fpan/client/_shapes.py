"""Outlines, soft masks and arrays as they arrive."""

import base64
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.client._pictures import grey_png
from fpan.client.errors import UnexpectedAnswer

Ring = NDArray[np.int64]
"""Corners (x, y), int (N, 2), the first not repeated. Pixel (x, y) is the square from (x, y) to (x + 1, y + 1)."""


@dataclass(frozen=True)
class Polygon:
    """One region of a class."""

    outline: Ring
    holes: tuple[Ring, ...]


@dataclass(frozen=True)
class SoftMasks:
    """The soft masks of one face, each still a PNG of its own window."""

    height: int
    width: int
    classes: tuple[tuple[str, tuple[int, int, int, int], bytes], ...] = field(repr=False)
    """Of each class: name, window, PNG."""

    def of(self, name: str) -> NDArray[np.uint8]:
        """How much of each pixel the class covers, uint8 (height, width), 255 = wholly; zero where it is not.

        Raises:
            UnexpectedAnswer: the picture cannot be read, or does not fit its window.
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
    """From the JSON member ``polygons``, by the name of the class; None where there is none."""
    if body is None:
        return None
    return {
        str(one["name"]): tuple(
            Polygon(_ring(each["outline"]), tuple(_ring(hole) for hole in each["holes"])) for each in one["polygons"]
        )
        for one in body["classes"]
    }


def read_soft(body: Mapping[str, Any] | None) -> SoftMasks | None:
    """From the JSON member ``alpha`` of a face; None where there is none."""
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
        UnexpectedAnswer: it is none.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zlib.error, zipfile.BadZipFile) as error:
        raise UnexpectedAnswer(f"the server's arrays cannot be read: {error}") from error


def _ring(corners: Sequence[Sequence[int]]) -> Ring:
    return np.asarray(corners, np.int64).reshape(-1, 2)
