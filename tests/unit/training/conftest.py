"""A tiny data set drawn in code: faces of coloured ellipses whose labels are known to the pixel."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fpan_training.data import FaceFolder
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
"""Of the pictures, in pixels."""
_TRAIN, _VAL = 32, 8
# name, centre and radii in units of the face's radius, colour. The person's left eye is on the picture's right.
_PARTS: tuple[tuple[str, tuple[float, float], tuple[float, float], tuple[int, int, int]], ...] = (
    ("hair", (0, -0.25), (1.15, 1.15), (80, 50, 20)),
    ("skin", (0, 0), (0.9, 1.1), (230, 180, 150)),
    ("r_eye", (-0.4, -0.25), (0.25, 0.15), (40, 90, 200)),
    ("l_eye", (0.4, -0.25), (0.25, 0.15), (40, 90, 200)),
    ("nose", (0, 0.1), (0.14, 0.25), (190, 120, 90)),
    ("u_lip", (0, 0.6), (0.45, 0.16), (200, 30, 60)),
)


def draw_face(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A face of its own place, size and colours: RGB uint8 (SIDE, SIDE, 3) and labels uint8 (SIDE, SIDE)."""
    image = np.full((SIDE, SIDE, 3), rng.integers(60, 130, 3), np.uint8)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    centre = SIDE / 2 + rng.uniform(-3, 3, 2)
    radius = rng.uniform(18, 23)
    for name, at, radii, colour in _PARTS:
        x, y = (round(float(v)) for v in centre + np.array(at) * radius)
        axes = (round(radii[0] * radius), round(radii[1] * radius))
        shade = tuple(int(v) for v in np.clip(np.array(colour) + rng.integers(-15, 16, 3), 0, 255))
        cv2.ellipse(image, (x, y), axes, 0, 0, 360, shade, -1)
        cv2.ellipse(labels, (x, y), axes, 0, 0, 360, TAXONOMY.id_of(name), -1)
    noisy = image + rng.normal(0, 4, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


def write_pair(root: Path, name: str, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Writes a picture and its palette mask in the documented layout."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(root / "images" / f"{name}.png")
    mask = Image.fromarray(labels)
    mask.putpalette(TAXONOMY.palette.tobytes())
    mask.save(root / "masks" / f"{name}.png")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Pictures of 64 pixels are not worth sharing between threads, least of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def faces_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set's folder, with the splits ``train`` and ``val``."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(7)
    names = [f"face{i:02}" for i in range(_TRAIN + _VAL)]
    for name in names:
        write_pair(root, name, *draw_face(rng))
    (root / "split.json").write_text(json.dumps({"train": names[:_TRAIN], "val": names[_TRAIN:]}))
    return root


@pytest.fixture(scope="session")
def faces(faces_root: Path) -> FaceFolder:
    """Its training split."""
    return FaceFolder.open(faces_root, "train")


@pytest.fixture
def make_pair() -> Callable[..., None]:
    """Writes one picture and its mask: ``make_pair(root, name, image, labels)``."""
    return write_pair
