"""Lists of faulty labels, which trainings leave out: pictures, or boxes in them. `fpan-train audit` writes such."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fpan_training.data.folder import DataError, Sample
from fpan_training.data.mixture import Part, Pictures

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in shares of a picture's width and height."""


class Fault(BaseModel):
    """Something that is wrong with a picture's labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Of the picture, without its ending."""
    kind: str = ""
    """What, for people."""
    score: float = 0.0
    """How sure: the higher the surer, comparable within a kind."""
    box: Box | None = None
    """Where; None: the labels are not to be trusted anywhere."""


class FaultList(BaseModel):
    """``audit.json``, or what people leave of it: pictures without a box are left out, and boxes are unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    """Name of the data set's folder."""
    faults: tuple[Fault, ...]

    @classmethod
    def read(cls, path: Path) -> "FaultList":
        """Reads the file.

        Raises:
            DataError: it is not of this form; the message says where.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(f"{path} is no list of faults: {where}: {first['msg']}") from error

    @property
    def left_out(self) -> frozenset[str]:
        """Names of the pictures that are not to be used."""
        return frozenset(fault.name for fault in self.faults if fault.box is None)


@dataclass(frozen=True)
class TrustedPictures:
    """Some pictures of a data set, with boxes in their masks of which nothing is known."""

    pictures: Pictures
    chosen: tuple[int, ...]
    """Numbers of those that are used."""
    boxes: Mapping[str, Sequence[Box]]
    """By the pictures' names."""
    unknown: int
    """The masks' value that stands for nothing."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures, without endings."""
        return tuple(self.pictures.names[index] for index in self.chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Sample:
        """A picture with the values of its mask."""
        sample = self.pictures[self.chosen[index]]
        boxes = self.boxes.get(sample.name, ())
        return replace(sample, labels=_without(sample.labels, boxes, self.unknown)) if boxes else sample

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The mask of a picture alone, uint8 (H, W)."""
        labels = self.pictures.labels(self.chosen[index])
        return _without(labels, self.boxes.get(self.pictures.names[self.chosen[index]], ()), self.unknown)


def trusted(parts: Sequence[Part], names: Sequence[str], lists: Sequence[Path]) -> list[Part]:
    """The same data sets without what lists of faults name.

    Args:
        parts: the data sets.
        names: of their folders, which say whose each list is.
        lists: files as :class:`FaultList` describes them.

    Raises:
        DataError: a list is not readable, or of a data set that is not used; nothing is left of one.
    """
    faults = [FaultList.read(path) for path in lists]
    foreign = [
        f"{path} is of {each.data!r}" for path, each in zip(lists, faults, strict=True) if each.data not in names
    ]
    if foreign:
        raise DataError(f"{'; '.join(foreign)}, and the data sets are {', '.join(names)}")
    done = []
    for part, name in zip(parts, names, strict=True):
        own = [each for each in faults if each.data == name]
        done.append(_trusted(part, name, own) if own else part)
    return done


def _trusted(part: Part, name: str, lists: Sequence[FaultList]) -> Part:
    left_out = frozenset[str]().union(*(each.left_out for each in lists))
    boxes: dict[str, list[Box]] = {}
    for fault in (fault for each in lists for fault in each.faults):
        if fault.box is not None:
            boxes.setdefault(fault.name, []).append(fault.box)
    chosen = tuple(i for i, picture in enumerate(part.pictures.names) if picture not in left_out)
    if not chosen:
        raise DataError(f"nothing is left of {name}: the lists of faults leave all of its pictures out")
    if boxes and not part.space.ignored:
        raise DataError(f"no value of the masks of {name} stands for nothing known: boxes cannot be left out")
    unknown = part.space.ignored[0] if boxes else 0
    return replace(part, pictures=TrustedPictures(part.pictures, chosen, boxes, unknown))


def _without(labels: NDArray[np.uint8], boxes: Sequence[Box], unknown: int) -> NDArray[np.uint8]:
    """The mask with boxes set to a value; pixels that a box covers in part belong to it."""
    height, width = labels.shape
    done = labels.copy()
    for left, top, right, bottom in boxes:
        # Rounded first: 0.3 of 10 pixels is a little more than 3 in binary.
        first = np.floor(np.round([top * height, left * width], 6)).astype(int).clip(0)
        last = np.ceil(np.round([bottom * height, right * width], 6)).astype(int).clip(0)
        done[first[0] : last[0], first[1] : last[1]] = unknown
    return done
