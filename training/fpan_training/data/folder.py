"""The documented layout of labelled pictures: ``images/NAME.jpg``, ``masks/NAME.png`` and ``split.json``."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


class DataError(Exception):
    """The data set cannot be used; the message lists everything that is wrong."""


@dataclass(frozen=True)
class Sample:
    """A picture and its label map."""

    name: str
    image: NDArray[np.uint8]
    """RGB, uint8 (H, W, 3)."""
    labels: NDArray[np.uint8]
    """Class ids, uint8 (H, W); 255 where unknown."""


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
        images = {p.stem: p for p in sorted((root / "images").glob("*")) if p.suffix.lower() in _IMAGE_ENDINGS}
        if not images:
            raise DataError(f"{root}/images has no pictures ({', '.join(_IMAGE_ENDINGS)})")
        names = sorted(images)
        split_file = root / "split.json"
        if split_file.is_file():
            splits = json.loads(split_file.read_text())
            if split not in splits:
                raise DataError(f"{split_file} has no split {split!r}; it has: {', '.join(sorted(splits))}")
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
        sample = Sample(name, read_rgb(self.paths[index]), read_labels(self.root / "masks" / f"{name}.png"))
        if sample.image.shape[:2] != sample.labels.shape:
            sizes = " and ".join(
                f"{width} x {height}" for height, width in (sample.image.shape[:2], sample.labels.shape)
            )
            raise DataError(f"{self.root}: picture and mask of {name} differ in size: {sizes}")
        return sample


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Reads a picture as RGB, uint8 (H, W, 3).

    Raises:
        DataError: it is not readable as an image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path} is not a readable image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Reads a label map from a grey or palette PNG, uint8 (H, W); a palette's colours play no part.

    Raises:
        DataError: it is not readable as such.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise DataError(f"{path} is {image.mode}: a label map has one channel of 8 bits")
            return np.array(image, np.uint8)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} is not a readable image: {error}") from error
