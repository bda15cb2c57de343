"""Decoded pictures: each is decoded once, shrunk, and kept with its mask in a file that is mapped into memory.

An epoch then costs no decoding, and processes that read the same file share its pages. A folder in the cache holds
``pixels.u8``, the bytes of every picture and mask one behind the other, and ``index.json``, written last, which says
where they are and what they were made of.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fpan_training.data.folder import DataError, FaceFolder, Sample
from fpan_training.data.mixture import Part, Pictures
from fpan_training.data.shards import ShardFolder
from fpan_training.engine.progress import track
from fpan_training.files import cache_folder, write_whole

_VERSION = 1
"""Of the form of the files: those of another are made anew."""
_PIXELS, _INDEX, _LOCK = "pixels.u8", "index.json", "lock"
_CHANNELS = 4
"""Bytes of a pixel: red, green, blue and the mask's value."""
_SAMPLES = 16
"""Pictures that are decoded to know how much space all need."""
_SPARE = 1.2
"""Space that must be free, in times of what is needed."""
_CHUNK = 64
"""Pictures that are decoded at a time."""
Bytes = NDArray[np.uint8]


class Index(BaseModel):
    """``index.json``."""

    model_config = ConfigDict(frozen=True)

    version: int
    origin: str
    """Which pictures at which size: what is made anew takes the place of what has the same one."""
    state: str
    """What changes when a file of theirs does."""
    shapes: tuple[tuple[int, int], ...]
    """Height and width of each picture, in the order of their names."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each picture begins in ``pixels.u8``, and where the last one ends, int64 (pictures + 1,)."""
        areas = np.array([height * width for height, width in self.shapes], np.int64)
        return np.concatenate([[0], np.cumsum(areas * _CHANNELS)])


@dataclass(frozen=True)
class DecodedPictures:
    """Pictures and masks out of such a file; to be used as the data set that it was made of."""

    names: tuple[str, ...]
    folder: Path
    """Of the cache."""
    shapes: tuple[tuple[int, int], ...]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """A picture with the values of its mask: copies, not views of the file."""
        height, width = self.shapes[index]
        image = np.array(self._pixels(index)[: -height * width]).reshape(height, width, _CHANNELS - 1)
        return Sample(self.names[index], image, self.labels(index))

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The mask of a picture alone, uint8 (H, W)."""
        height, width = self.shapes[index]
        return np.array(self._pixels(index)[-height * width :]).reshape(height, width)

    def _pixels(self, index: int) -> Bytes:
        return _mapped(self.folder / _PIXELS)[self.offsets[index] : self.offsets[index + 1]]


def decode_once(part: Part, side: int, cache: Path | None = None) -> Part:
    """The same data set, its pictures decoded and shrunk; done now if nobody has done it.

    Args:
        part: the data set. Landmarks and predictions of its pictures, in pixels, no longer fit.
        side: longest side in pixels of what lies within the aligned face's frame: pictures that show a wider frame are
            kept that much larger. Smaller ones are kept as they are.
        cache: folder; None: :func:`fpan_training.files.cache_folder`.

    Raises:
        DataError: a picture cannot be read, there is not enough space, or the folder cannot be written to.
        ValueError: the pictures are not those of a folder or of shards.
    """
    longest = round(side * part.frame)
    return replace(part, pictures=decoded(part.pictures, longest, cache or cache_folder()))


def decoded(pictures: Pictures, side: int, cache: Path) -> DecodedPictures:
    """Pictures out of the cache, see :func:`decode_once`; ``side`` is their longest in pixels."""
    origin, state = _origin(pictures, side)
    folder = cache / f"decoded-{hashlib.sha256(f'{origin} {state}'.encode()).hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index = _read(folder, origin, state)
        if index is None:
            with _locked(folder):
                # Somebody else may have made it while this process waited.
                index = _read(folder, origin, state) or _make(pictures, side, folder, origin, state)
                _remove_older(cache, folder, origin)
    except OSError as error:
        raise DataError(f"decoded pictures cannot be kept in {folder}: {error.strerror or error}") from error
    return DecodedPictures(pictures.names, folder, index.shapes, index.offsets)


def _origin(pictures: Pictures, side: int) -> tuple[str, str]:
    """Which pictures these are, and what changes when their files do."""
    names = hashlib.sha256("\n".join(pictures.names).encode()).hexdigest()
    if isinstance(pictures, FaceFolder):
        return f"{pictures.root.resolve()} {names} {side}", pictures.state()
    if isinstance(pictures, ShardFolder):
        return f"{pictures.location} {names} {side}", pictures.state()
    raise ValueError(f"{type(pictures).__name__} cannot be decoded ahead: name a folder or shards")


def _read(folder: Path, origin: str, state: str) -> Index | None:
    """What the folder holds; None where it is not whole, or something else."""
    try:
        index = Index.model_validate_json((folder / _INDEX).read_bytes())
        size = (folder / _PIXELS).stat().st_size
    except (OSError, ValidationError):
        return None
    same = (index.version, index.origin, index.state) == (_VERSION, origin, state)
    return index if same and size == index.offsets[-1] else None


def _make(pictures: Pictures, side: int, folder: Path, origin: str, state: str) -> Index:
    shrunk = partial(_shrunk, pictures, side)
    some = np.unique(np.linspace(0, len(pictures) - 1, _SAMPLES).astype(int)).tolist()
    needed = int(np.mean([len(data) for data, _ in map(shrunk, some)]) * len(pictures))
    free = shutil.disk_usage(folder).free
    if free < needed * _SPARE:
        raise DataError(
            f"{len(pictures)} decoded pictures need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are "
            "free: set FPAN_RUNS to another disk, or keep them smaller"
        )
    shapes: list[tuple[int, int]] = []
    temporary = folder / f"{_PIXELS}.tmp"
    try:
        with temporary.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
            # A chunk at a time: what is decoded faster than it is written would fill the memory.
            for first in track(range(0, len(pictures), _CHUNK), "decoding pictures"):
                for data, shape in pool.map(shrunk, range(first, min(first + _CHUNK, len(pictures)))):
                    file.write(data)
                    shapes.append(shape)
        temporary.replace(folder / _PIXELS)
        _mapped.cache_clear()
    finally:
        temporary.unlink(missing_ok=True)
    index = Index(version=_VERSION, origin=origin, state=state, shapes=tuple(shapes))
    write_whole(folder / _INDEX, index.model_dump_json().encode())
    return index


def _shrunk(pictures: Pictures, side: int, index: int) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a picture and its mask, and their height and width."""
    sample = pictures[index]
    height, width = sample.labels.shape
    factor = side / max(height, width)
    image, labels = sample.image, sample.labels
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    return image.tobytes() + labels.tobytes(), (labels.shape[0], labels.shape[1])


@lru_cache(maxsize=64)
def _mapped(path: Path) -> Bytes:
    """The file, mapped into this process's memory once."""
    return np.memmap(path, np.uint8, "r")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes of this machine out while it lasts."""
    with (folder / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_older(cache: Path, folder: Path, origin: str) -> None:
    """Removes what was made of the same pictures before they were changed. Who has it open can go on reading it."""
    for path in cache.glob(f"decoded-*/{_INDEX}"):
        if path.parent == folder:
            continue
        try:
            same = json.loads(path.read_text(encoding="utf-8")).get("origin") == origin
        except (OSError, ValueError, AttributeError):
            continue
        if same:
            shutil.rmtree(path.parent, ignore_errors=True)
