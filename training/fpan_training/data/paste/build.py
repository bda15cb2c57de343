"""`fpan-train parts`: a bank of worn things, cut out of labelled pictures once and kept in a file."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import DataError, FaceFolder, Sample
from fpan_training.data.label_space import LabelSpace
from fpan_training.data.paste.cut import cut_parts
from fpan_training.data.paste.part import CLASS_OF, Part, PartBank
from fpan_training.data.paste.paster import PartPaster, PasteConfig
from fpan_training.engine.plots import overlay
from fpan_training.engine.progress import track
from fpan_training.taxonomy import TAXONOMY

Image = NDArray[np.uint8]
T = TypeVar("T")
_TILE, _PER_ROW, _ROWS = 96, 12, 4
"""Of the sheet of parts: side in pixels, parts a row, rows a role."""
_GREY = 150
_TIMED = 100
"""Pictures by which it is told what pasting costs."""
_FACE, _FACES_A_ROW, _FACE_ROWS = 256, 3, 6
"""Of the sheet of faces."""


@dataclass(frozen=True)
class PartsBuild:
    """Cuts earrings, hats and glasses out of labelled pictures, to be pasted on the faces of others in training.

    Writes the bank (NPZ), and beside it two contact sheets: the parts, and faces that wear them. The bank holds pieces
    of the pictures: their terms are its terms.
    """

    data: tuple[Path, ...]
    """Folders of labelled pictures in which every class is told apart; the split ``train`` of each."""
    out: Path
    """File to write, as parts.npz."""

    def __call__(self) -> PartBank:
        """Writes the bank and returns it.

        Raises:
            DataError: a data set is not complete, or merges classes, or nobody in it wears anything.
        """
        folders = [FaceFolder.open(root, "train") for root in self.data]
        bank = PartBank(tuple(part for folder in folders for part in parts_of(folder)))
        if not len(bank):
            raise DataError(
                f"nothing can be cut out of {', '.join(map(str, self.data))}: no {_worn()} is whole and sharp"
            )
        bank.save(self.out)
        _write(self.out.with_suffix(".parts.png"), parts_sheet(bank))
        _write(self.out.with_suffix(".faces.png"), faces_sheet(bank, _samples(folders)))
        counts = Counter(part.role for part in bank.parts)
        cost = 1000 * seconds_a_picture(bank, _samples(folders))
        print(f"{self.out}: {', '.join(f'{counts[role]} {role}' for role in CLASS_OF)}")
        print(f"pasting takes {cost:.1f} ms of a processor a picture of {_FACE} pixels")
        return bank


def parts_of(folder: FaceFolder) -> Iterator[Part]:
    """The parts that can be cut out of a data set's pictures, in order.

    Raises:
        DataError: its labels merge classes: what belongs to a thing is not known then.
    """
    space = LabelSpace.of_folder(folder.root)
    if not space.plain:
        raise DataError(f"{folder.root}: its labels merge classes; parts are cut out where all are told apart")
    worn = np.zeros(256, np.bool_)
    worn[[TAXONOMY.id_of(name) for name in CLASS_OF.values()]] = True
    for index in track(range(len(folder)), "parts", len(folder)):
        labels = space.encode(folder.labels(index), folder.names[index])
        if worn[labels].any():
            name = f"{folder.root.name}/{folder.names[index]}"
            yield from cut_parts(folder[index].image, labels, TAXONOMY, name)


def parts_sheet(bank: PartBank) -> Image:
    """Some parts of each role on grey, RGB uint8 (H, W, 3)."""
    rows = []
    for parts in bank.by_role.values():
        some = _evenly(parts, _PER_ROW * _ROWS)
        tiles = [_on_grey(part) for part in some]
        tiles += [np.full((_TILE, _TILE, 3), _GREY, np.uint8)] * (-len(tiles) % _PER_ROW)
        rows += [np.concatenate(tiles[i : i + _PER_ROW], 1) for i in range(0, len(tiles), _PER_ROW)]
    return np.concatenate(rows)


def faces_sheet(bank: PartBank, samples: Iterator[Sample]) -> Image:
    """Faces with something on, and its labels beside them, RGB uint8 (H, W, 3); a grey one if nothing could be put on.

    Args:
        bank: parts to put on.
        samples: faces, of which the first that get something are shown.
    """
    paster = PartPaster(bank, PasteConfig(earring=0.5, necklace=0.8, hat=0.3, glasses=0.3))
    tiles: list[Image] = []
    for number, sample in enumerate(samples):
        image, labels = resize_pair(sample.image, sample.labels, _FACE)
        worn, marked = paster(image, labels, None, np.random.default_rng(number))
        if marked is not labels:
            tiles.append(np.concatenate([worn, overlay(worn, marked, TAXONOMY)], 1))
        if len(tiles) == _FACES_A_ROW * _FACE_ROWS:
            break
    blank = np.full((_FACE, 2 * _FACE, 3), _GREY, np.uint8)
    tiles += [blank] * (-len(tiles) % _FACES_A_ROW if tiles else 1)
    rows = range(0, len(tiles), _FACES_A_ROW)
    return np.concatenate([np.concatenate(tiles[i : i + _FACES_A_ROW], 1) for i in rows])


def seconds_a_picture(bank: PartBank, samples: Iterator[Sample]) -> float:
    """Processor time that pasting takes for a face of 256 pixels, with the usual probabilities, in seconds."""
    pairs = [resize_pair(sample.image, sample.labels, _FACE) for sample in islice(samples, _TIMED)]
    paster = PartPaster(bank)
    for number in (0, 1):
        # The first time round everything is made that is made once.
        rng, started = np.random.default_rng(number), time.process_time()
        for image, labels in pairs:
            paster(image, labels, None, rng)
    return (time.process_time() - started) / max(1, len(pairs))


def _samples(folders: Sequence[FaceFolder]) -> Iterator[Sample]:
    for folder in folders:
        for index in _evenly(range(len(folder)), 10 * _FACES_A_ROW * _FACE_ROWS):
            yield folder[index]


def _evenly(items: Sequence[T], count: int) -> list[T]:
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, count).astype(int))] if len(items) else []


def _on_grey(part: Part) -> Image:
    zoom = _TILE / max(part.rgba.shape[:2])
    rgba = cv2.resize(part.rgba, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)[:_TILE, :_TILE]
    alpha = rgba[..., 3:] / 255
    out = np.full((_TILE, _TILE, 3), _GREY, np.uint8)
    height, width = rgba.shape[:2]
    out[:height, :width] = rgba[..., :3] * alpha + _GREY * (1 - alpha)
    return out


def _write(path: Path, rgb: Image) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _worn() -> str:
    return " nor ".join(CLASS_OF)
