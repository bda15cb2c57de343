"""Everything that is wrong with data sets, found before training starts and listed at once."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from fpan_training.data.folder import IMAGE_ENDINGS, SPLIT_FILE, DataError, is_shards, list_pictures, read_splits
from fpan_training.data.label_space import LabelSpace, unknown_values
from fpan_training.engine.progress import track
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import read_given

_SHOWN = 50
"""Lines of a message at most; :func:`problems` has them all."""
_LYING = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height when the picture is read."""


@dataclass(frozen=True)
class Check:
    """Reads every picture and mask of data sets and lists all that is wrong: missing files, other sizes, unknown ids,
    broken files, masks of a wrong kind, a wrong ``dataset.json`` or ``split.json``, landmarks that cannot be read.
    """

    data: tuple[Path, ...]
    """Folders with ``images/``, ``masks/``, ``split.json`` and ``dataset.json`` where there is one."""
    threads: int = os.cpu_count() or 1
    """Pictures that are read at once."""

    def __call__(self) -> None:
        """Prints that all is well, or what is not.

        Raises:
            SystemExit: something is wrong; status 1.
        """
        found = [f"{root}: {problem}" for root in self.data for problem in problems(root, threads=self.threads)]
        for line in found:
            print(line)
        if found:
            raise SystemExit(1)
        print(f"{', '.join(map(str, self.data))}: nothing is wrong")


def check(*locations: str | Path, space: LabelSpace | None = None) -> None:
    """What every training command calls first; those that go by the masks' values call :func:`check_labelled`.

    Args:
        locations: folders of labelled pictures. Those of shards are left out: they were checked when they were written.
        space: what their masks may say, instead of what each folder declares.

    Raises:
        DataError: something is wrong with them; the message lists all of it, up to 50 lines.
    """
    roots = [Path(location) for location in locations if not is_shards(location)]
    found = [f"{root}: {problem}" for root in roots for problem in problems(root, space)]
    if found:
        more = [f"... and {len(found) - _SHOWN} more: see `fpan-train check`"] if len(found) > _SHOWN else []
        lines = "\n  ".join(found[:_SHOWN] + more)
        raise DataError(f"{len(found)} {'thing is' if len(found) == 1 else 'things are'} wrong:\n  {lines}")


def check_labelled(*locations: str | Path) -> None:
    """As :func:`check`, for what places occluders, turns or evaluates by the masks' values: they must be our ids.

    Folders without ``masks/``, which are unlabelled pictures, are left out.

    Raises:
        DataError: as :func:`check`; or the values of some masks stand for merged classes, or for others than our ids.
    """
    labelled = [location for location in locations if is_shards(location) or (Path(location) / "masks").is_dir()]
    check(*labelled)
    folders = [Path(location) for location in labelled if not is_shards(location)]
    merged = [str(folder) for folder in folders if not LabelSpace.of_folder(folder).plain]
    if merged:
        raise DataError(
            f"the masks of {', '.join(merged)} merge classes or number them in another way (see their dataset.json), "
            "and this command goes by the ids of our classes: give it a data set of those. What is labelled in part "
            "teaches SEGM: name it after the first of `fpan-train train segm --data`"
        )


def problems(root: Path, space: LabelSpace | None = None, threads: int = os.cpu_count() or 1) -> list[str]:
    """All that is wrong with a data set, in the order of its pictures; empty if nothing is.

    Args:
        root: the folder.
        space: what its masks may say, instead of what the folder declares.
        threads: pictures that are read at once.

    Every picture is decoded, also those in no split.
    """
    found: list[str] = []
    if space is None:
        try:
            space = LabelSpace.of_folder(root)
        except DataError as error:
            found.append(str(error))
    pictures = list_pictures(root)
    if not pictures:
        return [*found, f"images/ has no pictures ({', '.join(IMAGE_ENDINGS)})"]
    found += [
        f"{name}: {count} pictures of this name in images/"
        for name, count in Counter(path.stem for path in pictures).items()
        if count > 1
    ]
    found += _split_problems(root, {path.stem for path in pictures})
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map(partial(_pair_problems, root, space), pictures)
        for lines in track(each, f"checking {root.name}", len(pictures)):
            found += lines
    return found


def _split_problems(root: Path, names: set[str]) -> list[str]:
    try:
        splits = read_splits(root)
    except DataError as error:
        return [str(error)]
    found = []
    for split, listed in (splits or {}).items():
        found += [f"{SPLIT_FILE}, {split}: {name} has no picture in images/" for name in listed if name not in names]
        twice = [name for name, count in Counter(listed).items() if count > 1]
        found += [f"{SPLIT_FILE}, {split}: {name} is listed more than once" for name in twice]
        found += [f"{SPLIT_FILE}, {split}: no name"] * (not listed)
    in_splits = Counter(name for listed in (splits or {}).values() for name in set(listed))
    return found + [f"{SPLIT_FILE}: {name} is in several splits" for name, n in in_splits.items() if n > 1]


def _pair_problems(root: Path, space: LabelSpace | None, picture: Path) -> list[str]:
    name = picture.stem
    found: list[str] = []
    size = _attempt(found, picture, _picture_size)
    mask = root / "masks" / f"{name}.png"
    if mask.is_file():
        shape = _attempt(found, mask, partial(_mask_size, found, name, space))
        if size and shape and size != shape:
            sizes = " and ".join(f"{width} x {height}" for width, height in (size, shape))
            found.append(f"{name}: picture and mask differ in size: {sizes}")
    else:
        found.append(f"{name}: no mask in masks/")
    given = root / "landmarks" / f"{name}.json"
    if given.is_file():
        _attempt(found, given, _read_landmarks)
    return found


def _attempt(found: list[str], path: Path, read: Callable[[Path], tuple[int, int] | None]) -> tuple[int, int] | None:
    try:
        return read(path)
    except DataError as error:
        found.append(str(error))
    # Pillow's decoders raise what they like of broken files.
    except Exception as error:
        found.append(f"{path.parent.name}/{path.name} is broken: {error or type(error).__name__}")
    return None


def _read_landmarks(path: Path) -> None:
    read_given(path, SCHEME.names)


def _picture_size(path: Path) -> tuple[int, int]:
    """Width and height as the picture is read: turned as EXIF says."""
    with Image.open(path) as image:
        lies = image.getexif().get(ExifTags.Base.Orientation) in _LYING
        width, height = image.size
        # Every byte is looked at, but JPEG need not be decoded at its full size.
        image.draft("RGB", (1, 1))
        image.load()
    return (height, width) if lies else (width, height)


def _mask_size(found: list[str], name: str, space: LabelSpace | None, path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        if image.mode not in ("L", "P"):
            found.append(f"{name}: its mask is {image.mode}: a label map has one channel of 8 bits")
            return image.size
        labels = np.asarray(image, np.uint8)
    if space is not None and (unknown := space.unknown(labels)):
        found.append(f"{name}: {unknown_values(unknown, space)}")
    return labels.shape[1], labels.shape[0]
