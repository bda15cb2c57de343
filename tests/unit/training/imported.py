"""Small files in the forms that the importers read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from fpan_training.data.folder import read_labels
from fpan_training.taxonomy import TAXONOMY
from numpy.typing import NDArray
from PIL import Image

H, W = 40, 50
IDS = {c.name: c.id for c in TAXONOMY.classes}


def photo(path: Path, size: tuple[int, int] = (W, H), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path, **options)
    return path


def grey(path: Path, mask: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8)).save(path)


def box(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((H, W), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def mask_of(out: Path, name: str) -> NDArray[np.uint8]:
    return read_labels(out / "masks" / f"{name}.png")


def write_labelme(path: Path, drawn: list[dict[str, Any]], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = {"version": "5.5.0", "flags": {}, "imagePath": f"{path.stem}.jpg", "imageData": None}
    size = {"imageHeight": H, "imageWidth": W}
    path.write_text(json.dumps({**file, **size, "shapes": drawn, **more}))


def write_coco(root: Path, annotations: list[dict[str, Any]], categories: tuple[str, ...] = ("skin", "hair")) -> Path:
    photo(root / "images" / "a.jpg")
    entries = [{"category_id": 1, **a, "id": i, "image_id": 7} for i, a in enumerate(annotations)]
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": W, "height": H}],
        "annotations": entries,
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories, 1)],
    }
    (root / "coco.json").write_text(json.dumps(content))
    return root / "coco.json"
