"""One picture's occluded variants: made and written. ``landmarks/NAME.json`` of FaceOccMask-HQ has ``points`` and,
1 or 0 for each, ``visible``.
"""

import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fpan_training.data.assets import Assets, Split
from fpan_training.data.augment import warp_pair
from fpan_training.data.folder import Sample
from fpan_training.files import write_whole
from fpan_training.landmarks.crop import face_crop, warp_points
from fpan_training.landmarks.store import FaceRecord
from fpan_training.occlusion.generator import Occluded, OcclusionConfig, OcclusionGenerator
from fpan_training.occlusion.place import turn
from fpan_training.taxonomy import TAXONOMY

BuildKind = Literal["celebamaskocc", "faceoccmask"]
LABEL_FOLDERS = ("masks", "amodal", "occluders")
_JPEG_QUALITY = 95
_RECORDS = "records"
_SEED_OF: dict[BuildKind, int] = {"celebamaskocc": 0, "faceoccmask": 1}
"""Part of every variant's seed, so that the two data sets differ."""


@dataclass(frozen=True)
class CropConfig:
    """How FaceOccMask-HQ cuts faces out."""

    size: int = 256
    """Side in pixels."""
    margin: float = 0.25
    """Free space about the landmarks' box, in its longer sides."""
    rotation_deg: float = 15.0
    """Standard deviation of a rotation in the picture's plane."""


@dataclass(frozen=True)
class VariantMaker:
    """Makes the variants of one picture after the other; each depends on seed, name and number, and nothing else."""

    out: Path
    kind: BuildKind
    seed: int
    occlusion: OcclusionConfig
    crop: CropConfig

    def record(self, name: str) -> Path:
        """The file that is written last of a picture's: where it is, the picture is done."""
        return self.out / _RECORDS / f"{name}.json"

    def make(
        self, sample: Sample, face: FaceRecord | None, assets: dict[Split, Assets], plan: dict[Split, int]
    ) -> None:
        """Writes all variants of a picture.

        Args:
            sample: picture and labels.
            face: its landmarks; None where none were found.
            assets: by the split of occluders.
            plan: how many variants with each split of occluders.
        """
        rows: list[dict[str, Any]] = []
        for split, count in plan.items():
            generator = OcclusionGenerator(self.occlusion, assets[split], TAXONOMY)
            for number in range(count):
                code = (self.seed, _SEED_OF[self.kind], zlib.crc32(sample.name.encode()), *split.encode(), number)
                rows.append(self._variant(f"{sample.name}_{split}{number}", sample, face, generator, split, code))
        write_whole(self.record(sample.name), (json.dumps(rows) + "\n").encode())

    def _variant(
        self,
        name: str,
        sample: Sample,
        face: FaceRecord | None,
        generator: OcclusionGenerator,
        split: Split,
        code: tuple[int, ...],
    ) -> dict[str, Any]:
        rng = np.random.default_rng(code)
        points = None if face is None else face.points264
        row: dict[str, Any] = {"name": name, "picture": sample.name, "occluders": split}
        if self.kind == "faceoccmask":
            assert points is not None
            sample, points = self._cut(sample, points, rng)
        occluded = generator(sample.image, sample.labels, points, rng)
        assert occluded.labels is not None
        assert occluded.amodal is not None
        _, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(occluded.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        write_whole(self.out / "images" / f"{name}.jpg", jpeg.tobytes())
        maps = (occluded.labels, occluded.amodal, occluded.mask.astype(np.uint8) * np.uint8(255))
        for folder, values in zip(LABEL_FOLDERS, maps, strict=True):
            _, png = cv2.imencode(".png", values)
            write_whole(self.out / folder / f"{name}.png", png.tobytes())
        if self.kind == "faceoccmask":
            assert face is not None
            assert points is not None
            # Seen at the places that are written down.
            written = np.round(points, 2)
            content = {
                "points": written.tolist(),
                "visible": visible(written, occluded).astype(int).tolist(),
            }
            write_whole(self.out / "landmarks" / f"{name}.json", (json.dumps(content) + "\n").encode())
        return row | {"kind": occluded.kind, "source": occluded.source, "share": round(occluded.share, 4)}

    def _cut(
        self, sample: Sample, points: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[Sample, NDArray[np.float32]]:
        """The face's crop, turned a little, and its landmarks there."""
        c = self.crop
        turning = turn(rng.normal(0, c.rotation_deg))
        # The crop about the turned points, seen from the picture as it is.
        matrix = face_crop(points @ turning.T, c.size, c.margin)
        matrix = np.column_stack([matrix[:, :2] @ turning, matrix[:, 2]])
        image, labels = warp_pair(sample.image, sample.labels, matrix, c.size)
        return replace(sample, image=image, labels=labels), warp_points(points, matrix)


def visible(points: NDArray[np.float32], occluded: Occluded) -> NDArray[np.bool_]:
    """Which landmarks (N, 2) are in the picture and not covered, bool (N,)."""
    height, width = occluded.mask.shape
    at = np.rint(points).astype(int)
    inside = ((at >= 0) & (at < [width, height])).all(1)
    columns, rows = at.clip(0, [width - 1, height - 1]).T
    return np.asarray(inside & ~occluded.mask[rows, columns])
