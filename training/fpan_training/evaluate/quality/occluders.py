"""Row ``occluders``: faces under things that no training saw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fpan_training.data.assets import HELDOUT_FAMILY, Assets, Split
from fpan_training.data.folder import FaceFolder
from fpan_training.evaluate.bootstrap import bootstrap
from fpan_training.evaluate.confusion import Confusion, Scores, mean_of_known
from fpan_training.evaluate.quality.network import parse
from fpan_training.evaluate.quality.pictures import PictureSet
from fpan_training.evaluate.quality.results import Figure, RowResult, figures_of
from fpan_training.evaluate.quality.row import Subject
from fpan_training.evaluate.strata import OCCLUDED_EDGES, strata
from fpan_training.occlusion.generator import KINDS, OcclusionConfig
from fpan_training.occlusion.variants import LABEL_FOLDERS, CropConfig, VariantMaker
from fpan_training.taxonomy import CELEBA19_CLASSES, TAXONOMY

SEED = 12
_SPLITS: tuple[Split, ...] = ("val", "heldout")
_TITLES = {"val": "files kept for validation", "heldout": f"the family {HELDOUT_FAMILY}"}
_OCCLUSION = TAXONOMY.id_of("occlusion")
_POINTS = 100


@dataclass(frozen=True)
class Occluders:
    """Occlusion IoU, and by how many points mean F1 of the 18 classes is lower on covered faces than on the same ones
    uncovered.

    Each picture is covered twice, by the occlusion generator with files that are kept for validation, and with the
    family that no training sees. Seeds depend on the picture's name and on that alone.
    """

    name: ClassVar[str] = "occluders"
    definition: ClassVar[int] = 1
    pictures: PictureSet
    """The uncovered ones."""
    occluders: Path
    """Folder of cut-outs."""
    backgrounds: Path
    """Folder of pictures whose parts are textures of random shapes; those that show a face are left out."""
    folder: Path
    """Where the covered pictures are made; those that are there are kept."""

    def __call__(self, subject: Subject) -> RowResult:
        """Measures it."""
        covered, rows = self._make()
        ignore = subject.network.taxonomy.ignore
        # Predictions of what occludes are a class of their own here, a false alarm on uncovered faces.
        clean, under = (Confusion(len(TAXONOMY), ignore) for _ in range(2))
        for pictures, counts in ((self.pictures, clean), (covered, under)):
            for sample in pictures.tracked(f"{self.name}, {'covered' if counts is under else 'uncovered'}"):
                counts.add(sample.labels, parse(subject.network, sample.image).labels)
        subject.draw(self.name, covered, [1 - Scores.of(matrix).accuracy for matrix in under.matrices])
        found = {name: under.matrices[i] for i, name in enumerate(covered.names)}
        counts_by_picture = [
            [matrix, *(found[_name(name, split)] for split in _SPLITS)]
            for name, matrix in zip(self.pictures.names, clean.matrices, strict=True)
        ]
        stacked = np.array(counts_by_picture, np.int64)
        figures = figures_of(_figures(stacked.sum(0)), bootstrap(stacked, _figures))
        figures |= _by_kind(under, [str(row["kind"]) for row in rows])
        return covered.result(self.definition, figures | _by_share(under, [float(row["share"]) for row in rows]))

    def _make(self) -> tuple[PictureSet, list[dict[str, Any]]]:
        """The covered pictures, and what the generator says of each, in the same order."""
        for folder in ("images", "records", *LABEL_FOLDERS):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        maker = VariantMaker(self.folder, "celebamaskocc", SEED, OcclusionConfig(), CropConfig())
        if not all(maker.record(name).is_file() for name in self.pictures.names):
            assets = {split: Assets.open(self.backgrounds, self.occluders, split) for split in _SPLITS}
            for sample in self.pictures.tracked(f"{self.name}, covering"):
                if not maker.record(sample.name).is_file():
                    maker.make(sample, None, assets, dict.fromkeys(_SPLITS, 1))
        rows = [row for name in self.pictures.names for row in json.loads(maker.record(name).read_text())]
        names = tuple(str(row["name"]) for row in rows)
        paths = tuple(self.folder / "images" / f"{name}.jpg" for name in names)
        return PictureSet((FaceFolder(self.folder, names, paths),)), rows


def _name(picture: str, split: Split) -> str:
    """As :class:`VariantMaker` calls the first variant."""
    return f"{picture}_{split}0"


def _mean_f1(matrix: NDArray[np.int64]) -> float:
    """Over the 18 classes that uncovered faces may have."""
    return mean_of_known(Scores.of(matrix).f1[1:CELEBA19_CLASSES])


def _figures(total: NDArray[np.int64]) -> dict[str, float]:
    """Of matrices of uncovered faces and of those of each split, int (1 + splits, classes, classes + 1)."""
    before = _mean_f1(total[0])
    found = {"mean_f1/uncovered": before}
    for name, matrix in (("", total[1:].sum(0)), *((f"/{_TITLES[s]}", total[1 + i]) for i, s in enumerate(_SPLITS))):
        found[f"occlusion_iou{name}"] = float(Scores.of(matrix).iou[_OCCLUSION])
        found[f"drop{name}"] = _POINTS * (before - _mean_f1(matrix))
    return found


def _by_kind(confusion: Confusion, kinds: Sequence[str]) -> dict[str, Figure]:
    """Of pictures by what covers them."""
    found: dict[str, Figure] = {}
    for kind in KINDS:
        chosen = confusion.of_pictures(np.array([each == kind for each in kinds]))
        if chosen.matrices:
            found |= _stratum(f"kind/{kind}", chosen)
    return found


def _by_share(confusion: Confusion, shares: Sequence[float]) -> dict[str, Figure]:
    """Of pictures by the share of the face that is covered."""
    found: dict[str, Figure] = {}
    for stratum in strata(confusion, shares, OCCLUDED_EDGES, "%"):
        found |= _stratum(f"share/{stratum.name}", stratum.confusion)
    return found


def _stratum(name: str, confusion: Confusion) -> dict[str, Figure]:
    total = confusion.total
    # Glasses are a class of their own, so there may be nothing in the truth that occludes.
    there = total[_OCCLUSION].sum() > 0
    return {
        f"{name}/pictures": Figure(len(confusion.matrices)),
        f"{name}/mean_f1": Figure.of(_mean_f1(total)),
        f"{name}/occlusion_iou": Figure.of(float(Scores.of(total).iou[_OCCLUSION]) if there else float("nan")),
    }
