"""Label maps as files of labelling tools, to be corrected there: COCO for all photos, LabelMe for each.

What they hold comes back by ``fpan-train import``. COCO with run lengths is exact; polygons are so with a tolerance of
0, and otherwise differ only within the tolerance of a border.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fpan import __version__, rle
from fpan.outlines import area, regions

Format = Literal["coco", "coco-polygons", "labelme"]
FORMATS: tuple[Format, ...] = get_args(Format)


class Annotations:
    """The files for labelling tools that a command writes: ``coco.json``, ``coco-polygons.json``, ``labelme/``."""

    def __init__(self, formats: Sequence[Format], names: Mapping[int, str], tolerance: float, background: int) -> None:
        """Args:
        formats: which of them.
        names: the classes that label maps can have, background included: name by id.
        tolerance: of polygons, in pixels.
        background: id of the background.
        """
        self._labelme = "labelme" in formats
        self._names, self._tolerance, self._background = names, tolerance, background
        self._coco = {
            each: Coco(names, None if each == "coco" else tolerance, background)
            for each in formats
            if each != "labelme"
        }

    def add(self, labels: NDArray[np.uint8], photo: Path, stem: PurePath, out: Path) -> Iterator[tuple[Path, bytes]]:
        """Takes a photo's label map, uint8 (H, W); the files that are written for it alone, below ``out``."""
        for coco in self._coco.values():
            coco.add((stem.parent / photo.name).as_posix(), labels)
        if self._labelme:
            target = out / "labelme" / f"{stem}.json"
            content = labelme(labels, self._names, photo, target, self._tolerance, self._background)
            yield target, json.dumps(content).encode()

    def finish(self, out: Path) -> Iterator[tuple[Path, bytes]]:
        """The files of all photos together."""
        for name, coco in self._coco.items():
            yield out / f"{name}.json", json.dumps(coco.content()).encode()


def labelme(
    labels: NDArray[np.uint8],
    names: Mapping[int, str],
    photo: Path,
    target: Path,
    tolerance: float,
    background: int = 0,
) -> dict[str, Any]:
    """A label map as a LabelMe file.

    LabelMe paints shapes one over the other and knows no holes: shapes that enclose others come first, what lies in
    them follows; background that is enclosed is a shape of its own.

    Args:
        labels: uint8 (H, W).
        names: the classes that the map can have, background included: name by id.
        photo: where the photo is.
        target: where the file will be: it names the photo relative to itself.
        tolerance: of the outlines, in pixels.
        background: the class that is not drawn where it reaches the edge.
    """
    shapes = [
        {
            "label": names[region.label],
            "points": region.outline.astype(float).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for region in regions(labels, tolerance)
        if region.label in names and not (region.label == background and region.at_edge)
    ]
    return {
        "version": f"fpan {__version__}",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(os.path.relpath(photo, target.parent)).as_posix(),
        "imageData": None,
        "imageHeight": labels.shape[0],
        "imageWidth": labels.shape[1],
        # LabelMe keeps what it does not know: which classes could have been drawn.
        "classes": list(names.values()),
    }


class Coco:
    """Collects label maps of many photos for one COCO file; from several threads."""

    def __init__(self, names: Mapping[int, str], tolerance: float | None, background: int = 0) -> None:
        """Args:
        names: the classes that the maps can have: name by id; the background among them is no category.
        tolerance: of polygons, in pixels; None: run lengths.
        background: its id.
        """
        self._names = {i: name for i, name in names.items() if i != background}
        self._tolerance = tolerance
        self._photos: dict[str, tuple[tuple[int, int], list[dict[str, Any]]]] = {}
        self._lock = Lock()

    def add(self, file_name: str, labels: NDArray[np.uint8]) -> None:
        """Adds a photo by the name that it has in the labelling tool, with its label map, uint8 (H, W)."""
        height, width = labels.shape
        objects = self._runs(labels) if self._tolerance is None else self._polygons(labels, self._tolerance)
        with self._lock:
            self._photos[file_name] = ((height, width), objects)

    def content(self) -> dict[str, Any]:
        """The file. Photos are in the order of their names, whichever came first."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, (name, ((height, width), objects)) in enumerate(sorted(self._photos.items()), 1):
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for one in objects:
                annotations.append({"id": len(annotations) + 1, "image_id": number, "iscrowd": 0, **one})
        categories = [{"id": i, "name": name, "supercategory": ""} for i, name in self._names.items()]
        info = {"description": f"fpan parse {__version__}"}
        return {"info": info, "images": images, "annotations": annotations, "categories": categories}

    def _runs(self, labels: NDArray[np.uint8]) -> list[dict[str, Any]]:
        found = []
        for one in rle.encode_classes(labels, self._names)["classes"]:
            rows, columns = np.nonzero(labels == one["id"])
            box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
            drawn = {"size": list(labels.shape), "counts": one["counts"]}
            found.append(_object(one["id"], drawn, rows.size, [int(v) for v in box]))
        return found

    def _polygons(self, labels: NDArray[np.uint8], tolerance: float) -> list[dict[str, Any]]:
        found = []
        for region in regions(labels, tolerance):
            if region.label in self._names:
                ring = region.in_one()
                box = [*region.outline.min(0).tolist(), *np.ptp(region.outline, axis=0).tolist()]
                size = area(region.outline) + sum(area(hole) for hole in region.holes)
                found.append(_object(region.label, [ring.ravel().tolist()], size, box))
        return found


def _object(label: int, drawn: Any, area: float, box: Sequence[int]) -> dict[str, Any]:
    return {"category_id": label, "segmentation": drawn, "area": area, "bbox": list(box)}
