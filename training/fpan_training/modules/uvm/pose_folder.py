"""`fpan-train pose-augment`: a data set of labelled faces, turned to random poses."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fpan_training.data.assets import Assets
from fpan_training.data.check import check_labelled
from fpan_training.data.folder import SPLIT_FILE, DataError, FaceFolder, read_labels, read_rgb
from fpan_training.data.label_space import DATASET_FILE, derived, write_dataset_file
from fpan_training.engine import plots
from fpan_training.engine.progress import track
from fpan_training.face3d.fit import fit
from fpan_training.face3d.model import FaceModel
from fpan_training.files import write_whole
from fpan_training.landmarks import SCHEME, FaceStore
from fpan_training.modules.uvm.complete import completer
from fpan_training.modules.uvm.pose_augment import PoseAugment, PoseAugmentConfig
from fpan_training.paper.routing.folder import write_labels
from fpan_training.taxonomy import TAXONOMY

_CHUNK = 2
"""Pictures handed to a process at a time."""
_QUALITY = 95
"""Of the JPEGs."""
_MANIFEST, _SHEET = "manifest.json", "contact.png"
_SHOWN, _SHOWN_SIDE, _PER_ROW = 24, 160, 6
"""Pictures on the contact sheet, and their side in pixels."""
_DECIMALS = 2
"""Of points in pixels and of angles."""


@dataclass(frozen=True)
class PoseAugmentFolder:
    """Turns the labelled faces of a split to random poses and writes them as a data set of their own.

    Beside ``images/``, ``masks/`` and ``split.json`` there are ``landmarks/`` with 264 points and angles by picture,
    ``manifest.json`` with all angles, and ``contact.png``. The same seed gives the same pictures; run it again and it
    does the rest.
    """

    data: Path
    """Data set of labelled faces."""
    faces: Path
    """Its landmark store, as `fpan-train landmarks` makes it."""
    out: Path
    """Folder of the new data set."""
    checkpoint: Path | None = None
    """``best.pt`` of a run of `fpan-train train uvm`. Without one, what a picture does not show is mirrored."""
    split: str = "train"
    """Of ``data``; all new pictures belong to the split of this name."""
    poses: int = 1
    """New pictures for each face."""
    backgrounds: Path | None = None
    """Folder of pictures that replace backgrounds."""
    uv_size: int = 256
    """Texels a side of the UV maps, where there is no checkpoint to say it."""
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    seed: int = 0
    processes: int = os.cpu_count() or 1

    def __call__(self) -> Path:
        """Builds the folder and returns it.

        Raises:
            DataError: the data set or the store is not usable, or the folder holds pictures of other settings.
        """
        check_labelled(self.data)
        folder, store = FaceFolder.open(self.data, self.split), FaceStore(self.faces)
        names = [name for name in folder.names if store.get(name) is not None]
        if not names:
            raise DataError(
                f"{self.faces} has no face of {self.data}: run "
                f"`fpan-train landmarks --data {self.data} --out {self.faces}`"
            )
        settings = self._settings()
        self._same_settings(settings)
        for part in ("images", "masks", "landmarks"):
            (self.out / part).mkdir(parents=True, exist_ok=True)
        jobs = [(name, number) for name in names for number in range(self.poses)]
        todo = [job for job in jobs if not (self.out / "landmarks" / f"{_stem(*job)}.json").is_file()]
        with ProcessPoolExecutor(self.processes, get_context("spawn"), initializer=_start) as pool:
            for _ in track(pool.map(partial(_make, self), todo, chunksize=_CHUNK), "poses", len(todo)):
                pass
        stems = [_stem(*job) for job in jobs]
        angles = {stem: json.loads((self.out / "landmarks" / f"{stem}.json").read_text())["angles"] for stem in stems}
        manifest = {**settings, "without_a_face": len(folder) - len(names), "angles": angles}
        write_whole(self.out / SPLIT_FILE, (json.dumps({self.split: stems}, indent=2) + "\n").encode())
        write_dataset_file(self.out / DATASET_FILE, derived(self.data, "turned"))
        write_whole(self.out / _MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        contact_sheet(self.out, stems)
        return self.out

    def _settings(self) -> dict[str, object]:
        """What the pictures depend on."""
        return {
            "data": self.data.name,
            "split": self.split,
            "checkpoint": None if self.checkpoint is None else self.checkpoint.parent.name,
            "backgrounds": None if self.backgrounds is None else self.backgrounds.name,
            "uv_size": completer(self.checkpoint, self.uv_size).size,
            "augment": asdict(self.augment),
            "seed": self.seed,
        }

    def _same_settings(self, settings: dict[str, object]) -> None:
        path = self.out / _MANIFEST
        if path.is_file():
            before = json.loads(path.read_text(encoding="utf-8"))
            if {key: before.get(key) for key in settings} != settings:
                raise DataError(f"{self.out} holds pictures of other settings ({_MANIFEST}): choose another folder")
            return
        self.out.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(settings, indent=2) + "\n").encode())


def contact_sheet(out: Path, stems: Sequence[str]) -> None:
    """Draws pictures of all the folder beside their labels."""
    pictures: list[NDArray[np.uint8]] = []
    for stem in plots.some(stems, _SHOWN):
        image, labels = read_rgb(out / "images" / f"{stem}.jpg"), read_labels(out / "masks" / f"{stem}.png")
        for picture in (image, plots.overlay(image, labels, TAXONOMY)):
            side = (_SHOWN_SIDE, _SHOWN_SIDE)
            pictures.append(np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_AREA), np.uint8))
    plots.contact_sheet(pictures, out / _SHEET, _PER_ROW)


def _stem(name: str, number: int) -> str:
    return f"{name}_pose{number}"


def _start() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


@lru_cache(maxsize=1)
def _augment(checkpoint: Path | None, size: int, backgrounds: Path | None, config: PoseAugmentConfig) -> PoseAugment:
    return PoseAugment(completer(checkpoint, size), config, Assets.open(backgrounds, None))


@lru_cache(maxsize=1)
def _open(data: Path, split: str) -> FaceFolder:
    return FaceFolder.open(data, split)


def _make(command: PoseAugmentFolder, job: tuple[str, int]) -> None:
    """Writes one picture, its labels and, last, its landmarks."""
    name, number = job
    folder = _open(command.data, command.split)
    index = folder.names.index(name)
    sample, record = folder[index], FaceStore(command.faces).get(name)
    if record is None:
        raise DataError(f"{command.faces} lost the record of {name}")
    augment = _augment(command.checkpoint, command.uv_size, command.backgrounds, command.augment)
    rng = np.random.default_rng((command.seed, index, number))
    posed = augment(sample.image, sample.labels, fit(record.mesh478), rng)
    stem = _stem(name, number)
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(posed.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    write_whole(command.out / "images" / f"{stem}.jpg", encoded.tobytes())
    write_labels(command.out / "masks" / f"{stem}.png", posed.labels, TAXONOMY)
    points = SCHEME.from_mesh(FaceModel.load().mesh478(posed.fit.vertices))
    given = {
        "points": points.astype(float).round(_DECIMALS).tolist(),
        "angles": posed.fit.angles.round(_DECIMALS).tolist(),
    }
    write_whole(command.out / "landmarks" / f"{stem}.json", (json.dumps(given) + "\n").encode())
