"""`fpan-train build-occluded`: CelebAMaskOcc-HQ and FaceOccMask-HQ, from labelled faces and what may cover them."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from fpan_training.data.assets import HELDOUT_FAMILY, Assets, Split
from fpan_training.data.check import check_labelled
from fpan_training.data.folder import DataError, FaceFolder
from fpan_training.data.label_space import DATASET_FILE, derived, write_dataset_file
from fpan_training.data.people import people_free
from fpan_training.engine.progress import track
from fpan_training.files import write_whole
from fpan_training.landmarks.store import FaceStore
from fpan_training.occlusion.generator import OcclusionConfig
from fpan_training.occlusion.sheet import histogram, sheet
from fpan_training.occlusion.variants import LABEL_FOLDERS, BuildKind, CropConfig, VariantMaker

Item = tuple[str, dict[Split, int]]
"""A picture's name, and how many variants it gets with each split of occluders."""
Begin = tuple["BuildOccluded", VariantMaker, FaceFolder, list[Split]]
"""What a process begins with."""
_CHUNK = 4
"""Pictures handed to a process at a time."""
_FOLDERS = ("images", *LABEL_FOLDERS, "records")


@dataclass(frozen=True)
class BuildOccluded:
    """Covers labelled faces. Run it again and it does the rest; the same seed gives the same bytes.

    CelebAMaskOcc-HQ keeps the pictures as they are; FaceOccMask-HQ cuts out the faces that have landmarks, turned a
    little, and adds the landmarks with their visibility. Written are ``images/``, ``masks/`` (what is seen),
    ``amodal/`` (what is there), ``occluders/`` (255 where covered), ``landmarks/`` (FaceOccMask-HQ), ``split.json``,
    ``manifest.jsonl`` (picture, occluder and covered share of each), ``contact.png`` and ``shares.png``. Pictures of
    ``train`` get occluders of the training split, all others those of validation, and, as a split of its own called
    ``heldout``, those of a family that no training sees.
    """

    data: Path
    """Labelled faces: ``images/``, ``masks/``, ``split.json``; without that file all are for training."""
    out: Path
    """Folder to make."""
    kind: BuildKind = "celebamaskocc"
    """Which of the two data sets."""
    faces: Path | None = None
    """Landmarks of the pictures (`fpan-train landmarks`). Without them CelebAMaskOcc-HQ goes by the labels alone."""
    occluders: Path | None = None
    """Folder of cut-outs, a folder for each family. Without it, shapes drawn in code."""
    backgrounds: Path | None = None
    """Folder of pictures whose parts are textures of random shapes; those that show people are left out."""
    variants: int = 3
    """Of each picture, with each split of occluders that it gets."""
    seed: int = 0
    processes: int = os.cpu_count() or 1
    occlusion: OcclusionConfig = field(default_factory=OcclusionConfig)
    crop: CropConfig = field(default_factory=CropConfig)

    def __call__(self) -> Path:
        """Makes what is missing and returns the folder.

        Raises:
            DataError: data or landmarks are missing or wrong, or the folder was begun with other settings.
        """
        if self.kind == "faceoccmask" and self.faces is None:
            raise DataError("FaceOccMask-HQ needs landmarks: --faces names the folder that `fpan-train landmarks` made")
        check_labelled(self.data)
        folders = self._open()
        splits = {split: self._usable(folder.names) for split, folder in folders.items()}
        if not any(splits.values()):
            raise DataError(f"{self.faces} has landmarks of none of the pictures in {self.data}")
        for folder in (*_FOLDERS, *(("landmarks",) if self.kind == "faceoccmask" else ())):
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        self._check_settings()
        if self.backgrounds is not None:
            # Before there are several processes, each of which would look for them.
            people_free(self.backgrounds)
        maker = VariantMaker(self.out, self.kind, self.seed, self.occlusion, self.crop)
        # Names of the pictures, the split that they are of, and that of the occluders that they get.
        plans = {name: self._plan(split) for split, names in splits.items() for name in names}
        work = [(name, plan) for name, plan in sorted(plans.items()) if not maker.record(name).is_file()]
        needed = {split for _, plan in work for split in plan}
        whole = FaceFolder(
            self.data,
            tuple(name for folder in folders.values() for name in folder.names),
            tuple(path for folder in folders.values() for path in folder.paths),
        )
        begin = (self, maker, whole, sorted(needed))
        for _ in track(self._run(work, begin), "pictures", len(work)):
            pass
        self._finish(splits, maker)
        return self.out

    def _open(self) -> dict[str, FaceFolder]:
        """The pictures by split."""
        file = self.data / "split.json"
        names = sorted(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else ["train"]
        if "heldout" in names:
            raise DataError(f"{file} has a split called heldout, which is what this command calls its own: rename it")
        return {name: FaceFolder.open(self.data, name) for name in names}

    def _usable(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """FaceOccMask-HQ is made of pictures with landmarks alone."""
        if self.kind == "celebamaskocc" or self.faces is None:
            return names
        store = FaceStore(self.faces)
        return tuple(name for name in names if store.get(name) is not None)

    def _run(self, work: list[Item], begin: Begin) -> Iterator[None]:
        """Makes one picture after the other, in this process or in several."""
        if self.processes == 1:
            _start(*begin)
            yield from map(_work, work)
            return
        with ProcessPoolExecutor(
            self.processes, get_context("spawn"), initializer=_start_process, initargs=begin
        ) as pool:
            yield from pool.map(_work, work, chunksize=_CHUNK)

    def _plan(self, split: str) -> dict[Split, int]:
        if split == "train":
            return {"train": self.variants}
        held = self.occluders is not None and (self.occluders / HELDOUT_FAMILY).is_dir()
        return {"val": self.variants, "heldout": self.variants} if held else {"val": self.variants}

    def _check_settings(self) -> None:
        """Nothing that changes the pictures may change between one run and the next."""
        settings = {
            name: value.name if isinstance(value, Path) else value
            for name, value in asdict(self).items()
            if name not in ("out", "processes")
        }
        content = json.dumps(settings, indent=2) + "\n"
        file = self.out / "build.json"
        if file.is_file() and file.read_text(encoding="utf-8") != content:
            raise DataError(f"{file} says that this folder was begun with other settings: choose another --out")
        write_whole(file, content.encode())

    def _finish(self, splits: dict[str, tuple[str, ...]], maker: VariantMaker) -> None:
        """Puts the records together."""
        rows = [
            row for names in splits.values() for name in names for row in json.loads(maker.record(name).read_text())
        ]
        rows.sort(key=lambda row: str(row["name"]))
        of = {name: split for split, names in splits.items() for name in names}
        result: dict[str, list[str]] = {split: [] for split in splits}
        for row in rows:
            split = "heldout" if row["occluders"] == "heldout" else of[row["picture"]]
            result.setdefault(split, []).append(row["name"])
        write_whole(self.out / "manifest.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        write_whole(self.out / "split.json", (json.dumps(result, indent=1) + "\n").encode())
        write_dataset_file(self.out / DATASET_FILE, derived(self.data, "covered"))
        sheet(self.out, [row["name"] for row in rows], self.out / "contact.png")
        histogram(rows, self.out / "shares.png")
        counts = ", ".join(f"{len(names)} {split}" for split, names in result.items())
        print(f"{self.out}: {counts}")


@dataclass(frozen=True)
class _Worker:
    """What a process keeps."""

    maker: VariantMaker
    folder: FaceFolder
    store: FaceStore | None
    assets: dict[Split, Assets]


_worker: _Worker


def _start(build: BuildOccluded, maker: VariantMaker, folder: FaceFolder, splits: list[Split]) -> None:
    global _worker
    assets = {split: Assets.open(build.backgrounds, build.occluders, split) for split in splits}
    _worker = _Worker(maker, folder, None if build.faces is None else FaceStore(build.faces), assets)


def _start_process(*begin: Any) -> None:
    cv2.setNumThreads(1)
    _start(*begin)


def _work(item: Item) -> None:
    name, plan = item
    face = None if _worker.store is None else _worker.store.get(name)
    _worker.maker.make(_worker.folder[_worker.folder.names.index(name)], face, _worker.assets, plan)
