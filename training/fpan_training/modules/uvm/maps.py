"""UV maps of the near-frontal faces of data sets, unwrapped once, in parallel, and kept with the run."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.folder import DataError, FaceFolder, read_labels, read_rgb
from fpan_training.engine.progress import track
from fpan_training.face3d import pose
from fpan_training.face3d.fit import FaceFit, fit
from fpan_training.face3d.uv import unwrap
from fpan_training.files import write_whole
from fpan_training.landmarks import FaceRecord, FaceStore
from fpan_training.landmarks.build import list_images
from fpan_training.modules.uvm.complete import without_occlusion
from fpan_training.modules.uvm.data import StoredMap
from fpan_training.modules.uvm.fill import mirror_labels, mirror_texture
from fpan_training.occlusion import Assets, OcclusionConfig, OcclusionGenerator
from fpan_training.taxonomy import TAXONOMY

_CHUNK = 4
"""Pictures handed to a process at a time."""
_FEW = 2 * _CHUNK
"""Pictures that are done sooner than processes have started."""
_CONFIG_FILE = "maps.json"
_SKIN, _OCCLUSION = TAXONOMY.id_of("skin"), TAXONOMY.id_of("occlusion")


@dataclass(frozen=True)
class MapsConfig:
    """Which faces are unwrapped, and what is hidden of them."""

    near_frontal_deg: float = 20.0
    """Greatest yaw and pitch of a face that counts as near-frontal."""
    hidden_views: int = 6
    """Other poses for each face, whose own visibility hides parts of the map."""
    hidden_yaw_deg: tuple[float, float] = (25.0, 80.0)
    """Their range of yaw, to either side."""
    hidden_pitch_deg: float = 25.0
    """Their greatest pitch."""
    occluded_views: int = 3
    """Occluders for each face, which hide what they cover."""
    seed: int = 0


@dataclass(frozen=True)
class Maps:
    """Files of stored maps."""

    train: tuple[Path, ...]
    val: tuple[Path, ...]


@dataclass(frozen=True)
class _Source:
    """A picture to unwrap."""

    image: Path
    mask: Path | None
    store: Path
    out: Path
    number: int


def build_maps(
    data: Sequence[Path], faces: Path, out: Path, size: int, config: MapsConfig, occluders: Path | None
) -> Maps:
    """Unwraps what is not yet there.

    Args:
        data: data sets with ``split.json``, of which ``train`` and, from the first, ``val`` are taken; or plain
            folders of pictures, all of which are for training.
        faces: folder of landmark stores, one by the name of each data set.
        out: folder of the maps.
        size: their side in texels.
        config: what is unwrapped.
        occluders: folder of cut-outs; without one, occluders are drawn.

    Raises:
        DataError: no near-frontal face to train on or to validate on, or maps of another config.
    """
    _same_config(out / _CONFIG_FILE, {"size": size, **asdict(config)})
    train: list[_Source] = []
    for folder in data:
        train += _sources(folder, "train", faces / folder.name, out, config)
    val = _sources(data[0], "val", faces / data[0].name, out, config)
    for split, sources in (("train", train), ("val", val)):
        if not sources:
            raise DataError(
                f"no near-frontal face with landmarks in {split} of {', '.join(str(folder) for folder in data)}: "
                f"run `fpan-train landmarks --data DATA --out {faces}/NAME` for each data set"
            )
        todo = [source for source in sources if not source.out.is_file()]
        work = partial(_store, size=size, config=config, occluders=occluders, split=split)
        if len(todo) <= _FEW:
            for source in track(todo, f"UV maps, {split}"):
                work(source)
            continue
        with ProcessPoolExecutor(
            os.cpu_count(), get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
        ) as pool:
            for _ in track(pool.map(work, todo, chunksize=_CHUNK), f"UV maps, {split}", len(todo)):
                pass
    return Maps(tuple(source.out for source in train), tuple(source.out for source in val))


def stored_map(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8] | None,
    record: FaceRecord,
    size: int,
    config: MapsConfig,
    generator: OcclusionGenerator,
    rng: np.random.Generator,
) -> StoredMap:
    """The map of a face, with views that hide parts of it.

    Args:
        image: RGB, uint8 (H, W, 3).
        labels: class ids, uint8 (H, W), or None.
        record: the face's landmarks.
        size: texels a side.
        config: how many views of which kind.
        generator: of occluders.
        rng: all chance comes from it.
    """
    face = fit(record.mesh478)
    uv_map = without_occlusion(unwrap(image, face, size, labels))
    views, yaws = [], []
    for _ in range(config.hidden_views):
        yaw = float(rng.choice([-1, 1]) * rng.uniform(*config.hidden_yaw_deg))
        pitch = float(rng.uniform(-config.hidden_pitch_deg, config.hidden_pitch_deg))
        views.append(visible_at(face, (yaw, pitch, 0.0), image.shape[:2], size))
        yaws.append(yaw)
    for _ in range(config.occluded_views):
        covered = generator(image, labels, record.points264, rng).mask
        flat = unwrap(image, face, size, np.where(covered, np.uint8(_OCCLUSION), np.uint8(_SKIN)))
        views.append(np.asarray(flat.labels != _OCCLUSION))
        yaws.append(np.nan)
    known = uv_map.visible
    flat_labels = np.full((size, size), TAXONOMY.ignore, np.uint8) if uv_map.labels is None else uv_map.labels
    return StoredMap(
        mirror_texture(uv_map.texture, known),
        mirror_labels(flat_labels, known),
        known,
        np.stack(views),
        np.array(yaws, np.float32),
    )


def visible_at(
    face: FaceFit, angles_deg: tuple[float, float, float], shape: tuple[int, ...], size: int
) -> NDArray[np.bool_]:
    """What of a face a picture of a shape (height, width) would show at other angles, bool (S, S)."""
    nothing = np.zeros((shape[0], shape[1], 3), np.uint8)
    return unwrap(nothing, face.posed(pose.rotation(angles_deg)), size).visible


def near_frontal(record: FaceRecord, config: MapsConfig) -> bool:
    """Whether yaw and pitch are small enough."""
    return bool(np.abs(record.angles[:2]).max() <= config.near_frontal_deg)


def _sources(data: Path, split: str, store: Path, out: Path, config: MapsConfig) -> list[_Source]:
    labelled = (data / "split.json").is_file()
    paths = list(FaceFolder.open(data, split).paths) if labelled else list_images(data)
    faces = FaceStore(store)
    sources = []
    for number, path in enumerate(paths):
        record = faces.get(path.stem)
        if record is not None and np.isfinite(record.mesh478).all() and near_frontal(record, config):
            mask = data / "masks" / f"{path.stem}.png" if labelled else None
            sources.append(_Source(path, mask, store, out / data.name / f"{path.stem}.npz", number))
    return sources


def _store(source: _Source, size: int, config: MapsConfig, occluders: Path | None, split: str) -> None:
    """Unwraps a picture into its file."""
    record = FaceStore(source.store).get(source.image.stem)
    if record is None:
        raise DataError(f"{source.store} lost the record of {source.image.stem}")
    labels = None if source.mask is None else read_labels(source.mask)
    rng = np.random.default_rng((config.seed, len(split), source.number))
    generator = _generator(occluders, "val" if split == "val" else "train")
    source.out.parent.mkdir(parents=True, exist_ok=True)
    stored_map(read_rgb(source.image), labels, record, size, config, generator, rng).save(source.out)


@lru_cache(maxsize=1)
def _generator(occluders: Path | None, split: str) -> OcclusionGenerator:
    assets = Assets.open(None, occluders, "val" if split == "val" else "train")
    return OcclusionGenerator(OcclusionConfig(), assets, TAXONOMY)


def _same_config(path: Path, config: dict[str, object]) -> None:
    """Writes the config of a folder of maps, or checks that it is the same.

    Raises:
        DataError: it is another one.
    """
    text = json.dumps(config, indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise DataError(f"{path.parent} has UV maps of other settings: delete it, or choose another run folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
