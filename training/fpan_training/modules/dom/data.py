"""DOM's data: aligned face crops, and the same with something before the face.

The clean crop is moved a little, then occluded at twice the network's resolution, so that the occluder's edges are
those of a photo that is shrunk, and not of one that was pasted small.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from fpan.contract import Taxonomy
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from fpan_training.data.augment import resize_pair
from fpan_training.data.folder import DataError, read_labels, read_rgb
from fpan_training.data.label_space import LabelSpace, read_dataset_file
from fpan_training.landmarks.crop import warp_points
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceStore
from fpan_training.modules.lom.clean import CleanFaces
from fpan_training.modules.lom.data import MarkedFace
from fpan_training.occlusion.generator import Occluded

OVERSAMPLING = 2
"""Pictures are kept and occluded at this many times the network's side."""
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")

Image = NDArray[np.uint8]
Points = NDArray[np.float32]
Triple = tuple[Tensor, Tensor, Tensor]


Occlude = Callable[[Image, Image | None, Points | None, np.random.Generator], Occluded]
""":class:`~fpan_training.occlusion.generator.OcclusionGenerator`: picture, labels, points and a random generator."""


@dataclass(frozen=True)
class CropConfig:
    """How far a clean crop is moved before it is occluded: aligned faces move little."""

    flip: float = 0.5
    """Probability of a mirrored picture."""
    rotation_deg: float = 4.0
    """Standard deviation of the roll, in degrees."""
    scale: float = 0.05
    """Standard deviation of the zoom's logarithm."""
    shift: float = 0.02
    """Standard deviation of the shift, in picture widths."""
    brightness: float = 0.08
    """Standard deviation of the logarithm of each colour channel's gain, common and own part alike."""
    p_clean: float = 0.1
    """Share of pictures that stay without occlusion, so that DOM learns to leave a face alone."""


@dataclass(frozen=True)
class Faces:
    """Clean faces in memory, all of one size, with their labels and points where there are any."""

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    """RGB, uint8 (pictures, side, side, 3)."""
    labels: tuple[Image | None, ...]
    """uint8 (side, side) each."""
    points: tuple[Points | None, ...]
    """float32 (264, 2) each, in pixels of ``images``."""

    @classmethod
    def open(
        cls,
        folders: Sequence[Path],
        split: str,
        size: int,
        stores: Sequence[FaceStore | None] | None = None,
        clean: CleanFaces | None = None,
    ) -> "Faces":
        """Reads the clean pictures of a split, cut to the aligned frame and shrunk to ``OVERSAMPLING * size``.

        One with neither labels nor landmarks is left out: where its face is to be covered cannot be known. So is one
        of which nobody tells that nothing covers it already.

        Args:
            folders: each with ``images/`` (or the pictures themselves), ``masks/`` where there are labels,
                ``dataset.json`` where their frame is not the face's own, and ``split.json`` where there are splits;
                without it all pictures are ``train``.
            split: which.
            size: the network's side in pixels.
            stores: for each folder its landmarks, if known.
            clean: who tells that a face is clean, where labels cannot; None: nobody.

        Raises:
            DataError: a folder has no pictures or a frame smaller than the face's own, a picture cannot be read or is
                not square, or none can be used.
        """
        side = OVERSAMPLING * size
        judge = clean or CleanFaces()
        names: list[str] = []
        images: list[Image] = []
        labels: list[Image | None] = []
        points: list[Points | None] = []
        for folder, store in zip(folders, stores or [None] * len(folders), strict=True):
            # Faces are found in masks by the ids of our classes; other masks serve to tell clean faces alone.
            plain, frame = LabelSpace.of_folder(folder).plain, read_dataset_file(folder).frame
            masks = {path: folder / "masks" / f"{path.stem}.png" for path in _list(folder, split)}
            records = {path: None if store is None else store.get(path.stem) for path in masks}
            usable = [path for path in masks if records[path] is not None or (plain and masks[path].is_file())]
            known = judge.of(
                folder, usable, {p.stem: MarkedFace.of(p, record) for p in usable if (record := records[p]) is not None}
            )
            judge.show(f"{split} of {folder.name}", known)
            for path in usable:
                if not known[path.stem].clean:
                    continue
                record, labelled = records[path], plain and masks[path].is_file()
                image = read_rgb(path)
                height, width = image.shape[:2]
                if height != width:
                    raise DataError(f"{path} is {width} x {height} pixels: DOM takes aligned, square face crops")
                full = read_labels(masks[path]) if labelled else np.zeros((height, width), np.uint8)
                edge = _edge(folder, frame, width)
                inner = slice(edge, width - edge)
                shrunk, small = resize_pair(image[inner, inner], full[inner, inner], side)
                names.append(path.stem)
                images.append(shrunk)
                labels.append(small if labelled else None)
                # Pixel centres are at whole numbers, so that edges are at -0.5.
                points.append(None if record is None else _scaled(record.points264 - edge, side / (width - 2 * edge)))
        if not names:
            where = ", ".join(str(folder) for folder in folders)
            raise DataError(
                f"no picture of the split {split!r} in {where} has labels or landmarks and is known to be clean: add a "
                "folder with masks/, or run `fpan-train landmarks` and name its output; and name a LOM with "
                "--clean-by, data sets with --clean-data, or pictures with --clean-list"
            )
        return cls(tuple(names), np.stack(images), tuple(labels), tuple(points))

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class OcclusionData(Dataset[Triple]):
    """Triples of an occluded picture and the clean one, uint8 (size, size, 3), and the share of each pixel that is
    covered, uint8 (size, size), 255 for all of it.

    The index is ``pass * len(faces) + picture``, as :class:`~fpan_training.data.loader.EpochSampler` makes it.
    """

    faces: Faces
    size: int
    occlude: Occlude
    taxonomy: Taxonomy
    crop: CropConfig | None = None
    """None: pictures stay as they are and all are occluded, as in validation."""
    seed: int = 0

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Triple:
        turn, picture = divmod(index, len(self.faces))
        rng = np.random.default_rng((self.seed, turn, picture))
        image, labels, points = self.faces.images[picture], self.faces.labels[picture], self.faces.points[picture]
        if self.crop is not None:
            image, labels, points = self._move(image, labels, points, self.crop, rng)
        occluded, mask = image, np.zeros(image.shape[:2], np.uint8)
        if self.crop is None or rng.random() >= self.crop.p_clean:
            answer = self.occlude(image, labels, points, rng)
            occluded, mask = answer.image, answer.mask.astype(np.uint8) * 255
        small = [cv2.resize(a, (self.size, self.size), interpolation=cv2.INTER_AREA) for a in (occluded, image, mask)]
        a, b, c = (torch.from_numpy(np.ascontiguousarray(s)) for s in small)
        return a, b, c

    def _move(
        self, image: Image, labels: Image | None, points: Points | None, c: CropConfig, rng: np.random.Generator
    ) -> tuple[Image, Image | None, Points | None]:
        side = image.shape[0]
        drawn = np.zeros((side, side), np.uint8) if labels is None else labels
        if rng.random() < c.flip:
            image, drawn = np.ascontiguousarray(image[:, ::-1]), self.taxonomy.mirror(drawn)
            points = None if points is None else SCHEME.mirror(points, side)
        angle = np.deg2rad(rng.normal(0, c.rotation_deg))
        zoom = np.exp(rng.normal(0, c.scale))
        linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.full(2, (side - 1) / 2)
        matrix = np.column_stack([linear, centre + rng.normal(0, c.shift, 2) * side - linear @ centre])
        image, drawn = _warp(image, drawn, matrix)
        points = None if points is None else warp_points(points, matrix)
        gains = np.exp(rng.normal(0, c.brightness) + rng.normal(0, c.brightness, 3))
        image = np.clip(np.rint(image * gains), 0, 255).astype(np.uint8)
        return image, None if labels is None else drawn, points


def _edge(folder: Path, frame: float, width: int) -> int:
    """Pixels of each edge that lie outside of the aligned face's own frame."""
    if frame < 1:
        raise DataError(f"{folder} has a frame of {frame:g} widths of the aligned face's: DOM needs 1 or more")
    return round(width * (1 - 1 / frame) / 2)


def _scaled(points: Points, scale: float) -> Points:
    return np.asarray((points + 0.5) * scale - 0.5, np.float32)


def _warp(image: Image, labels: Image, matrix: NDArray[np.float64]) -> tuple[Image, Image]:
    """Unlike ``warp_pair``, fills from the picture's own edge: DOM would learn to paint black corners."""
    sides = image.shape[1::-1]
    moved = cv2.warpAffine(image, matrix, sides, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    drawn = cv2.warpAffine(labels, matrix, sides, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8), np.asarray(drawn, np.uint8)


def _list(folder: Path, split: str) -> list[Path]:
    inside = folder / "images" if (folder / "images").is_dir() else folder
    paths = {p.stem: p for p in sorted(inside.glob("*")) if p.suffix.lower() in _ENDINGS}
    if not paths:
        raise DataError(f"{inside} has no pictures ({', '.join(_ENDINGS)})")
    file = folder / "split.json"
    if not file.is_file():
        return list(paths.values()) if split == "train" else []
    splits = json.loads(file.read_text())
    missing = [name for name in splits.get(split, []) if name not in paths]
    if missing:
        raise DataError(f"{folder}: pictures that split.json names are missing: {', '.join(missing)}")
    return [paths[name] for name in sorted(splits.get(split, []))]


def collate(triples: Sequence[Triple]) -> Triple:
    """Stacks triples into a batch: uint8 (B, H, W, 3) twice and uint8 (B, H, W)."""
    occluded, clean, masks = zip(*triples, strict=True)
    return torch.stack(occluded), torch.stack(clean), torch.stack(masks)
