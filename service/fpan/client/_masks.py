"""Label maps that arrive as COCO run lengths, one per class, and are decoded when they are first looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpan.client.errors import UnexpectedAnswer
from fpan.rle import decode

ENCODING = "coco_rle"


@dataclass(frozen=True)
class Mask:
    """One label map, still encoded."""

    height: int
    width: int
    classes: tuple[tuple[int, str, str], ...]
    """Of each class that occurs: id, name, run lengths."""

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The class of each pixel, uint8 (height, width), read-only; 0 where no class is.

        Raises:
            UnexpectedAnswer: the run lengths do not fit the size.
        """
        labels = np.zeros((self.height, self.width), np.uint8)
        for number, _, counts in self.classes:
            labels[self._decode(counts)] = number
        labels.flags.writeable = False
        return labels

    def of(self, name: str) -> NDArray[np.bool_]:
        """Where the class called ``name`` is, bool (height, width); all False where it does not occur."""
        for _, known, counts in self.classes:
            if known == name:
                return self._decode(counts)
        return np.zeros((self.height, self.width), np.bool_)

    def _decode(self, counts: str) -> NDArray[np.bool_]:
        try:
            return decode(counts, (self.height, self.width))
        except ValueError as error:
            raise UnexpectedAnswer(f"the server's label map cannot be decoded: {error}") from error


def read_mask(body: Mapping[str, Any], height: int, width: int) -> Mask:
    """From the JSON member ``mask`` of a picture of that size.

    Raises:
        UnexpectedAnswer: another encoding, or another size than the picture's.
    """
    if body["encoding"] != ENCODING or list(body["size"]) != [height, width]:
        raise UnexpectedAnswer(
            f"the server answered with a mask of {body['encoding']} and {body['size']}, not the photo's"
        )
    return Mask(height, width, tuple((int(c["id"]), str(c["name"]), str(c["counts"])) for c in body["classes"]))
