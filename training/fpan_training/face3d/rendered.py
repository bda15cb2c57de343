"""`fpan-train render`: labelled pictures of people who do not exist, from the committed face model alone.

They are what every stage of training can be tried on from a bare clone: pictures, masks with 19 classes, true
landmarks and true poses. They are no substitute for photographs.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from fpan_training.data.folder import SPLIT_FILE
from fpan_training.data.label_space import DATASET_FILE, DatasetFile
from fpan_training.engine.plots import contact_sheet
from fpan_training.engine.progress import track
from fpan_training.face3d.fit import PIVOT_CM
from fpan_training.face3d.look import LookConfig, draw_look
from fpan_training.face3d.model import FaceModel
from fpan_training.face3d.pose import rotation
from fpan_training.face3d.scene import build
from fpan_training.face3d.shade import shade
from fpan_training.files import write_whole
from fpan_training.landmarks.scheme import SCHEME
from fpan_training.landmarks.store import FaceRecord, FaceStore
from fpan_training.taxonomy import TAXONOMY

FACES = "faces"
"""Folder of the landmark records beside ``images/`` and ``masks/``."""
_WIDTH_CM = 25.0
"""What a picture is wide at the face, before zoom: about what CelebA-HQ's alignment shows."""
_PIVOT_AT = (0.5, 0.53)
"""Where the middle of the head lies, in shares of the picture."""
_JPEG_QUALITY = 95
_VAL_EVERY = 5
"""Every fifth picture is for validation."""
_SHOWN, _SHOWN_A_ROW = 12, 4
"""Pictures on the contact sheet."""


class RenderedFace(NamedTuple):
    """One picture with everything that is known of it."""

    image: NDArray[np.uint8]
    """RGB, uint8 (size, size, 3)."""
    labels: NDArray[np.uint8]
    """Class ids, uint8 (size, size)."""
    record: FaceRecord
    """Landmarks, mesh and pose, in pixels; exact."""


def render_face(seed: tuple[int, ...], size: int, config: LookConfig | None = None) -> RenderedFace:
    """Draws one person; the same seed gives the same bytes.

    Args:
        seed: of everything that chance decides.
        size: side of the picture, in pixels.
        config: what is how frequent.
    """
    look = draw_look(config or LookConfig(), np.random.default_rng(seed))
    scene = build(look)
    turn = rotation(look.angles_deg)
    scale = size / _WIDTH_CM * look.zoom
    pivot = (np.array(_PIVOT_AT) + look.shift) * size
    origin = np.append(pivot, 0) - scale * turn @ np.array(PIVOT_CM)
    image, labels = shade(look, scene, turn, scale, origin, size)
    mesh = FaceModel.load().mesh478(scene.skin @ turn.T * scale + origin)
    record = FaceRecord(
        points264=SCHEME.from_mesh(mesh),
        mesh478=mesh,
        rotation=turn.astype(np.float32),
        angles=np.array(look.angles_deg, np.float32),
        found=True,
    )
    return RenderedFace(image, labels, record)


def render_dataset(folder: Path, count: int, seed: int = 0, size: int = 128, config: LookConfig | None = None) -> Path:
    """Writes a data set of rendered people and returns its folder.

    ``images/``, ``masks/``, ``split.json`` (``train`` and ``val``) and ``dataset.json`` as every data set has them,
    ``faces/``, a :class:`FaceStore` with the true landmarks and poses, and ``contact.png`` to look at. Picture ``i``
    depends on ``seed`` and ``i`` only.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    store = FaceStore(folder / FACES)
    names = [f"render_{number:05d}" for number in range(count)]
    shown = []
    for number, name in enumerate(track(names, "render")):
        face = render_face((seed, number), size, config)
        if number < _SHOWN:
            shown.append(np.concatenate([face.image, TAXONOMY.palette[face.labels].astype(np.uint8)], 1))
        bgr = cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        write_whole(folder / "images" / f"{name}.jpg", data.tobytes())
        PilImage.fromarray(face.labels).save(folder / "masks" / f"{name}.png")
        store.put(name, face.record)
    if shown:
        contact_sheet(shown, folder / "contact.png", _SHOWN_A_ROW)
    splits = {
        "train": [name for number, name in enumerate(names) if number % _VAL_EVERY != _VAL_EVERY - 1],
        "val": names[_VAL_EVERY - 1 :: _VAL_EVERY],
    }
    write_whole(folder / SPLIT_FILE, (json.dumps(splits, indent=1) + "\n").encode())
    facts = DatasetFile(
        name=f"rendered faces, seed {seed}",
        labels="celeba19",
        source="fpan-train render: the face model of this package (ICT-FaceKit, MIT)",
        licence="Apache-2.0, as this project",
    )
    write_whole(folder / DATASET_FILE, (facts.model_dump_json(indent=1) + "\n").encode())
    return folder


@dataclass(frozen=True)
class Render:
    """Renders labelled pictures of people who do not exist: a small data set that needs no download.

    Beside pictures and masks it has the true landmarks and poses, in `faces/`.
    """

    out: Path
    """Folder to write."""
    count: int = 200
    """Pictures; every fifth is for validation."""
    seed: int = 0
    size: int = 128
    """Side of the pictures, in pixels."""
    look: LookConfig = field(default_factory=LookConfig)

    def __call__(self) -> Path:
        """Writes the data set and returns its folder."""
        return render_dataset(self.out, self.count, self.seed, self.size, self.look)
