"""The documented layout of labelled pictures: ``images/NAME.jpg``, ``masks/NAME.png`` and ``split.json``."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fpan_training.errors import UserError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
"""Of pictures, in lower case; masks are PNG."""
SPLIT_FILE = "split.json"
SHARDS_FILE = "shards.json"


class DataError(UserError):
    """The data set cannot be used; the message lists everything that is wrong."""


def name_of(location: str | Path) -> str:
    """The last part of a path or URL: where a data set lies on one machine is of no use on another."""
    return str(location).rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Sample:
    """A picture and its label map."""

    name: str
    image: NDArray[np.uint8]
    """RGB, uint8 (H, W, 3)."""
    labels: NDArray[np.uint8]
    """Class ids, uint8 (H, W); 255 where unknown."""
    frame: float = 1.0
    """Width of the picture in widths of the aligned face's frame, which lies in its middle."""
    soft: NDArray[np.uint8] | None = None
    """What a teacher thinks of it, uint8 (h, w, 3), see :mod:`fpan_training.data.soft_labels`; None: not asked."""


@dataclass(frozen=True)
class FaceFolder:
    """A split of a folder of aligned, labelled faces.

    ``split.json`` maps the name of a split to a list of picture names without their endings; without that file every
    picture belongs to every split.
    """

    root: Path
    names: tuple[str, ...]
    paths: tuple[Path, ...]

    @classmethod
    def open(cls, root: Path, split: str) -> "FaceFolder":
        """Lists a split and checks that every picture has its mask.

        Raises:
            DataError: the folder, the split or any file is missing; all of them are named at once.
        """
        images = {path.stem: path for path in list_pictures(root)}
        if not images:
            raise DataError(f"{root}/images has no pictures ({', '.join(IMAGE_ENDINGS)})")
        names = sorted(images)
        splits = read_splits(root)
        if splits is not None:
            if split not in splits:
                raise DataError(f"{root / SPLIT_FILE} has no split {split!r}; it has: {', '.join(sorted(splits))}")
            names = sorted(splits[split])
        problems = [f"{name}: no picture in images/" for name in names if name not in images]
        problems += [f"{name}: no mask in masks/" for name in names if not (root / "masks" / f"{name}.png").is_file()]
        if problems:
            raise DataError(f"{root} is not complete:\n  " + "\n  ".join(problems))
        return cls(root, tuple(names), tuple(images[name] for name in names))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Reads one pair.

        Raises:
            DataError: a file is not readable as an image, or picture and mask differ in size.
        """
        name = self.names[index]
        sample = Sample(name, read_rgb(self.paths[index]), self.labels(index))
        if sample.image.shape[:2] != sample.labels.shape:
            sizes = " and ".join(
                f"{width} x {height}" for height, width in (sample.image.shape[:2], sample.labels.shape)
            )
            raise DataError(f"{self.root}: picture and mask of {name} differ in size: {sizes}")
        return sample

    def only(self, indices: Iterable[int]) -> "FaceFolder":
        """Some of the pictures."""
        chosen = tuple(indices)
        return FaceFolder(self.root, tuple(self.names[i] for i in chosen), tuple(self.paths[i] for i in chosen))

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The mask of a picture alone, uint8 (H, W); DataError if it is not readable."""
        return read_labels(self.root / "masks" / f"{self.names[index]}.png")

    def state(self) -> str:
        """Text that changes when a picture or mask is written anew: a digest of their sizes and times of change."""
        files = (*self.paths, *(self.root / "masks" / f"{name}.png" for name in self.names))
        status = [path.stat() for path in files]
        return hashlib.sha256(repr([(each.st_size, each.st_mtime_ns) for each in status]).encode()).hexdigest()


def is_shards(location: str | Path) -> bool:
    """Whether a location is one of shards (:mod:`fpan_training.data.shards`): a URL, or a folder with their list."""
    return "://" in str(location) or (Path(location) / SHARDS_FILE).is_file()


def list_pictures(root: Path) -> list[Path]:
    """The pictures of ``images/``, in order."""
    return sorted(path for path in (root / "images").glob("*") if path.suffix.lower() in IMAGE_ENDINGS)


def read_splits(root: Path) -> dict[str, list[str]] | None:
    """What ``split.json`` says: the names of each split; None without the file.

    Raises:
        DataError: the file maps no names of splits to lists of names.
    """
    path = root / SPLIT_FILE
    if not path.is_file():
        return None
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    if not isinstance(splits, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in splits.values()
    ):
        raise DataError(f'{path} must be like {{"train": ["NAME", ...], "val": [...]}}, names without endings')
    return splits


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Reads a picture as RGB, uint8 (H, W, 3).

    Raises:
        DataError: it is not readable as an image.
    """
    return _rgb(cv2.imread(str(path), cv2.IMREAD_COLOR), str(path))


def decode_rgb(data: bytes, name: str) -> NDArray[np.uint8]:
    """The picture of an image file's bytes, as :func:`read_rgb`; ``name`` is for the message."""
    encoded = np.frombuffer(data, np.uint8)
    return _rgb(cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None, name)


def _rgb(bgr: NDArray[np.uint8] | None, name: str) -> NDArray[np.uint8]:
    if bgr is None:
        raise DataError(f"{name} is not a readable image")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Reads a label map from a grey or palette PNG, uint8 (H, W); a palette's colours play no part.

    Raises:
        DataError: it is not readable as such.
    """
    return _labels(path, str(path))


def decode_labels(data: bytes, name: str) -> NDArray[np.uint8]:
    """The label map of a file's bytes, as :func:`read_labels`; ``name`` is for the message."""
    return _labels(BytesIO(data), name)


def _labels(file: Path | BytesIO, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            if image.mode not in ("L", "P"):
                raise DataError(f"{name} is {image.mode}: a label map has one channel of 8 bits")
            return np.array(image, np.uint8)
    except UnidentifiedImageError as error:
        # Its own message names a buffer where there is no file.
        raise DataError(f"{name} is not a readable image") from error
    except (OSError, SyntaxError) as error:
        raise DataError(f"{name} is not a readable image: {error}") from error
