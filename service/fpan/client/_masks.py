"""Label maps as they arrive, decoded when they are first looked at: COCO run lengths, or indexed PNGs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.client._pictures import indexed_png
from fpan.client.errors import UnexpectedAnswer
from fpan.rle import decode

ENCODING = "coco_rle"
_BROKEN = "the server's label map cannot be decoded"


@dataclass(frozen=True)
class Mask(ABC):
    """One label map, still encoded."""

    height: int
    width: int

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The class of each pixel, uint8 (height, width), read-only; 0 where no class is.

        Raises:
            UnexpectedAnswer: the encoding is broken, or does not fit the size.
        """
        labels = np.zeros((self.height, self.width), np.uint8)
        self._decode_into(labels)
        labels.flags.writeable = False
        return labels

    @abstractmethod
    def of(self, name: str) -> NDArray[np.bool_]:
        """Where the class called ``name`` is, bool (height, width); all False where it does not occur."""

    @abstractmethod
    def _decode_into(self, labels: NDArray[np.uint8]) -> None: ...


@dataclass(frozen=True)
class RunLengthMask(Mask):
    """As HTTP brings it: the run lengths of each class."""

    classes: tuple[tuple[int, str, str], ...]
    """Of each class that occurs: id, name, run lengths."""

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
    """As gRPC brings it: a PNG whose palette index is the class."""

    ids: Mapping[str, int]
    """Of the classes that occur."""
    window: tuple[int, int, int, int]
    """The part that the PNG shows; around it is no class."""
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
"""Where there is no label map of all faces, because each has a frame of its own."""


def read_mask(body: Mapping[str, Any], height: int, width: int) -> Mask:
    """From the JSON member ``mask`` of a picture of that size.

    Raises:
        UnexpectedAnswer: another encoding, or another size than the picture's.
    """
    if body["encoding"] != ENCODING or list(body["size"]) != [height, width]:
        raise UnexpectedAnswer(
            f"the server answered with a mask of {body['encoding']} and {body['size']}, not the photo's"
        )
    return RunLengthMask(
        height, width, tuple((int(c["id"]), str(c["name"]), str(c["counts"])) for c in body["classes"])
    )
