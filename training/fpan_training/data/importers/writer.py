"""Writes the documented layout: ``images/``, ``masks/`` as palette PNG, ``split.json``, ``dataset.json``."""

import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fpan_training.data.folder import IMAGE_ENDINGS, SPLIT_FILE, DataError
from fpan_training.data.importers.source import Item, Source, opened
from fpan_training.data.label_space import DATASET_FILE, DatasetFile, LabelSpace, unknown_values, write_dataset_file
from fpan_training.engine.progress import track
from fpan_training.taxonomy import TAXONOMY

_JPEG_QUALITY = 95
_UPRIGHT = 1
_ORIENTATION = 0x0112
"""EXIF's tag of how a picture is to be turned."""
_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
"""Formats that are kept as they are."""
_SHOWN = 50
"""Lines of a message at most."""


@dataclass(frozen=True)
class Written:
    """What an import made."""

    pictures: int
    splits: dict[str, int]
    """Pictures of each."""
    notes: dict[str, int]
    """How many pictures each thing was done to."""
    space: LabelSpace

    def __str__(self) -> str:
        splits = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        notes = "".join(f"; {count} {note}" for note, count in self.notes.items())
        told = ", ".join(self.space.name_of(members) for _, members in self.space.declared)
        return f"{self.pictures} pictures ({splits}){notes}. Told apart: {told}"


def write_dataset(source: Source, out: Path, about: DatasetFile, val_share: float, threads: int) -> Written:
    """Writes a source as a data set.

    Args:
        source: what is imported.
        out: a folder that is not there yet, or empty.
        about: name, source and licence; its labels are the source's.
        val_share: how much goes to ``val`` where the source has no splits, by a hash of the names: a picture stays in
            its split when others come.
        threads: pictures that are read at once.

    Raises:
        DataError: something is wrong with the source; all that is wrong is listed. Neither ``split.json`` nor
            ``dataset.json`` is written then, and what was written is removed.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty: name a new folder")
    about = about.model_copy(update={"labels": _shortest(source.labels)})
    space = LabelSpace.of_file(about, about.name)
    colours = np.asarray(space.coded.palette[space.table], np.uint8).tobytes()
    keys = source.keys()
    if not keys and not source.problems:
        raise DataError("there are no pictures")
    for part in ("images", "masks"):
        (out / part).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map(partial(_write_one, source, out, space, colours), keys)
        done = list(track(each, "importing", len(keys)))
    wrong = [*source.problems, *(problem for outcome in done if isinstance(problem := outcome, str))]
    items = [outcome for outcome in done if not isinstance(outcome, str)]
    twice = [name for name, count in Counter(name for name, _, _ in items).items() if count > 1]
    wrong += [f"{name}: several pictures of this name" for name in twice]
    nothing = all(len(members) == len(TAXONOMY) for _, members in space.declared)
    if wrong or nothing:
        # So that the next try, when that is mended, finds the folder empty as this one did.
        for part in ("images", "masks"):
            shutil.rmtree(out / part)
    if wrong:
        more = [f"... and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        many = f"{len(wrong)} of {len(keys)} are" if not source.problems else _things(len(wrong))
        raise DataError(f"{many} wrong:\n  " + "\n  ".join(wrong[:_SHOWN] + more))
    if nothing:
        raise DataError(
            f"nothing is labelled in any of the {len(keys)} pictures: nothing can be learnt from them. Draw shapes "
            "of our classes"
        )
    splits = _splits([(name, split) for name, split, _ in items], val_share)
    (out / SPLIT_FILE).write_text(json.dumps(splits, indent=1) + "\n", encoding="utf-8")
    write_dataset_file(out / DATASET_FILE, about)
    notes = Counter(note for _, _, note in items if note)
    return Written(len(items), {split: len(names) for split, names in splits.items()}, dict(notes), space)


def _write_one(
    source: Source, out: Path, space: LabelSpace, colours: bytes, key: str
) -> tuple[str, str | None, str] | str:
    """Writes a picture; returns its name, split and note, or what is wrong with it."""
    try:
        item = source.read(key)
        data, ending, size, labels = _encode(item)
        if size != labels.shape:
            sizes = " and ".join(f"{width} x {height}" for height, width in (size, labels.shape))
            return f"{key}: picture and labels differ in size: {sizes}"
        if unknown := space.unknown(labels):
            return f"{key}: {unknown_values(unknown, space)}"
    except DataError as error:
        return f"{key}: {error}"
    # What decoders raise of broken files is not theirs alone: an import goes on to the next, and lists it.
    except Exception as error:
        return f"{key} is broken: {error or type(error).__name__}"
    (out / "images" / f"{item.name}{ending}").write_bytes(data)
    mask = Image.fromarray(labels)
    mask.putpalette(colours)
    mask.save(out / "masks" / f"{item.name}.png")
    return item.name, item.split, item.note


def _encode(item: Item) -> tuple[bytes, str, tuple[int, int], NDArray[np.uint8]]:
    """An image file's content, its ending, height and width, and the labels. What EXIF turns is turned and written
    anew; so are labels that were drawn on the picture as it lies, which their size tells.
    """
    file = BytesIO()
    if not isinstance(item.image, bytes):
        Image.fromarray(item.image).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return file.getvalue(), ".jpg", item.image.shape[:2], item.labels
    with opened(item.image, "its picture") as image:
        ending = _ENDINGS.get(image.format or "", "")
        image.load()
        orientation = image.getexif().get(_ORIENTATION, _UPRIGHT)
        if ending in IMAGE_ENDINGS and orientation == _UPRIGHT:
            return item.image, ending, (image.height, image.width), item.labels
        turned = ImageOps.exif_transpose(image).convert("RGB")
        turned.save(file, "PNG")
        labels, size = item.labels, (turned.height, turned.width)
        if labels.shape == (image.height, image.width) != size:
            lying = Image.fromarray(labels)
            lying.getexif()[_ORIENTATION] = orientation
            labels = np.asarray(ImageOps.exif_transpose(lying), np.uint8)
        return file.getvalue(), ".png", size, labels


def _things(count: int) -> str:
    return "1 thing is" if count == 1 else f"{count} things are"


def _splits(items: Sequence[tuple[str, str | None]], val_share: float) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = defaultdict(list)
    for name, split in items:
        splits[split or ("val" if _hash(name) < val_share else "train")].append(name)
    return {split: sorted(names) for split, names in sorted(splits.items())}


def _hash(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _shortest(labels: str | dict[str, str | list[str]]) -> str | dict[str, str | list[str]]:
    """``full`` where the values are the classes themselves."""
    full = LabelSpace.full()
    if isinstance(labels, str) or LabelSpace.from_labels("", labels).declared != full.declared:
        return labels
    return full.name
