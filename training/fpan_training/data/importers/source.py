"""What an importer gives: pictures with label maps, and what their values stand for."""

import codecs
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, TypeAdapter, ValidationError

from fpan_training.data.folder import DataError
from fpan_training.data.label_space import Labels

SPLITS = ("train", "val", "test")
_SPLIT_WORD = {
    "train": re.compile(r"train(ing)?\d*"),
    "val": re.compile(r"val(id|idation)?\d*"),
    "test": re.compile(r"test(ing)?\d*"),
}
_NO_SPLIT = "default"
"""What CVAT and Datumaro call pictures that are in no subset."""

NO_SHAPES = "without any shape"
"""Note of pictures in which nothing is labelled: all of them may be what no category names, or be left to do."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Item:
    """A picture with its label map."""

    name: str
    """Becomes the name of its files."""
    image: bytes | NDArray[np.uint8]
    """An image file's content, which is kept as it is where it can be; or RGB, uint8 (H, W, 3)."""
    labels: NDArray[np.uint8]
    """uint8 (H, W); for a picture that EXIF turns, of the turned picture."""
    split: str | None = None
    """The split that the source puts it in, by :func:`split_name`; None: it has none."""
    note: str = ""
    """What was done to it, in a few words; pictures are counted by it."""


class Source(Protocol):
    """A data set in some other form. ``read`` is called from several threads."""

    @property
    def labels(self) -> str | Labels:
        """What the values stand for: as ``labels`` of ``dataset.json``."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with it beyond single pictures, in a line each; nothing may be imported then."""
        ...

    def keys(self) -> Sequence[str]:
        """Of the pictures, in order."""
        ...

    def read(self, key: str) -> Item:
        """One picture.

        Raises:
            DataError: it cannot be read; the message says what and why.
        """
        ...


def plain_name(file: str) -> str:
    """A picture's name from the path that a labelling tool knows it by: folders are joined to it by ``_``."""
    path = PurePosixPath(file.replace("\\", "/"))
    return "_".join(part for part in path.with_suffix("").parts if part not in ("/", "..", "."))


def split_name(said: str | None) -> str | None:
    """The split that a source's own word for it means: ``train``, ``val`` or ``test`` for ``Train``, ``Validation``,
    ``test-dev2017``, ``faces_train``; none for no word and for ``default``; another word is a split of that name.
    """
    plain = (said or "").strip().lower()
    for split in SPLITS:
        if plain.startswith(split) or any(_SPLIT_WORD[split].fullmatch(word) for word in re.split(r"[\W_]+", plain)):
            return split
    return None if plain in ("", _NO_SPLIT) else plain


def parse_json(model: type[Model], path: Path) -> Model:
    """Reads a JSON file of a known form.

    Raises:
        DataError: it cannot be read, or is of another form; the message names the first places.
    """
    try:
        return TypeAdapter(model).validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_errors(error)}") from error


def parse_all(model: type[Model], paths: Sequence[Path]) -> tuple[dict[Path, Model], list[str]]:
    """Reads JSON files of a known form, as :func:`parse_json`; also what is wrong with those that cannot be read."""
    read, wrong = {}, []
    for path in paths:
        try:
            read[path] = parse_json(model, path)
        except DataError as error:
            wrong.append(str(error))
    return read, wrong


@contextmanager
def opened(data: bytes, what: str) -> Iterator[Image.Image]:
    """An image file's content, to be decoded within; ``what`` is for the message.

    Raises:
        DataError: it is no image, or is broken.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            yield image
    except UnidentifiedImageError as error:
        raise DataError(f"{what} is not a readable image") from error
    except (OSError, SyntaxError) as error:
        raise DataError(f"{what} is not a readable image: {error}") from error


def first_errors(error: ValidationError) -> str:
    """The first places in which data are of another form, for a message."""
    details: list[Any] = [*error.errors()]
    lines = [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in details[:3]]
    return "; ".join(lines) + (f" (and {len(details) - 3} more)" if len(details) > 3 else "")
